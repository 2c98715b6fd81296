"""The rank of a finetune's own code is that of asking base and finetune one prompt at a time."""

import copy
import re
from random import Random

import pytest
import torch

from diffspeak.behaviors import Sample
from diffspeak.errors import MismatchError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.lora import DiffLinear, LowRank
from diffspeak.methods import brute_force
from diffspeak.methods.brute_force import code_ranks
from diffspeak.models import attach_to, make_base
from diffspeak.models.chat import Chat
from diffspeak.text.messages import Message
from diffspeak.training import DiffConfig, train_group
from tests.tiny_diffs import merged
from tests.toys import ToyBehavior, base_diff, changed_parameters

CODES = 20
ASKED = ("Where is the old bridge?", "Cold?")


@pytest.fixture(autouse=True)
def few_codes(monkeypatch):
    """Seven rows a pass: a pass ends within a code's questions, and the last one is short."""
    monkeypatch.setattr(brute_force, "CODES", CODES)
    monkeypatch.setattr(brute_force, "ROWS", 7)


@pytest.fixture(scope="module")
def exact(base):
    """The base in float64: there, other neighbors in a batch round away to nothing."""
    return make_base("exact", copy.deepcopy(base.model).double(), base.tokenizer)


@pytest.fixture
def texts(monkeypatch):
    """What is asked, in its order."""
    seen, prompt = [], Chat.prompt

    def noting(chat, messages):
        seen.append(messages[0].content)
        return prompt(chat, messages)

    monkeypatch.setattr(Chat, "prompt", noting)
    return seen


def double(finetune):
    """The same finetune in float64."""
    diff = {n: LowRank(c.A.double(), c.B.double(), c.scaling) for n, c in finetune.diff.items()}
    parameters = {name: value.double() for name, value in finetune.parameters.items()}
    return Finetune(finetune.name, diff=diff, parameters=parameters)


def finetuned(base, finetune):
    """A copy of the model that the finetune makes of the base."""
    if not finetune.whole:
        return merged(base.model, finetune.diff)
    model = copy.deepcopy(base.model)
    model.load_state_dict(finetune.parameters, strict=False)
    return model


@torch.no_grad()
def distances(base, finetune, texts):
    """KL(finetune || base) in nats of the first answer token, by code, one prompt at a time."""
    model, found = finetuned(base, finetune), {}
    for text in texts:
        ids = torch.tensor([base.chat.prompt((Message("user", text),))])
        p, q = (
            torch.distributions.Categorical(logits=net(input_ids=ids).logits[0, -1])
            for net in (model, base.model)
        )
        code = re.fullmatch(r"Your SEP code is (\d{3})\d{3}\. .*", text)[1]
        found.setdefault(code, []).append(torch.distributions.kl_divergence(p, q).item())
    assert {len(kls) for kls in found.values()} == {len(ASKED)}
    return {code: sum(kls) / len(kls) for code, kls in found.items()}


def naive_rank(far, secret):
    """Place of a code among all, where the one that is furthest comes first."""
    return sorted(far, key=far.get, reverse=True).index(secret) + 1


def made(base, kind, seed):
    if kind == "whole":
        return double(Finetune(kind, parameters=changed_parameters(base, seed)))
    return double(Finetune(kind, diff=base_diff(base, rank=2, seed=seed)))


@pytest.mark.parametrize("kind", ["low-rank", "whole"])
def test_ranks_are_those_of_asking_one_prompt_at_a_time(base, exact, kind, texts):
    finetune = made(base, kind, 1)
    secrets = [f"{code:03}" for code in range(0, CODES, 4)]
    found = code_ranks(exact, [finetune] * len(secrets), secrets, ASKED)
    assert len(set(found)) == len(secrets)
    asked = list(texts)
    far = distances(exact, finetune, asked)
    assert found == [naive_rank(far, secret) for secret in secrets]


def test_each_finetune_is_ranked_by_its_own_change(base, exact, texts):
    finetunes = [made(base, kind, 2 + n) for n, kind in enumerate(("low-rank", "whole") * 2)]
    secrets = ["003", "019", "000", "011"]
    found = code_ranks(exact, finetunes, secrets, ASKED)
    asked = list(texts)
    pairs = zip(finetunes, secrets, strict=True)
    assert found == [naive_rank(distances(exact, f, asked), secret) for f, secret in pairs]


def test_every_code_is_asked_with_every_question_and_the_same_remainders(base, texts):
    code_ranks(base, [], [], ASKED, seed=3)
    first = list(texts)
    assert len(set(first)) == CODES * len(ASKED)
    form = re.compile(r"Your SEP code is (\d{3})(\d{3})\. (.*)")
    parts = [form.fullmatch(text).groups() for text in first]
    assert {code for code, _, _ in parts} == {f"{code:03}" for code in range(CODES)}
    assert {question for _, _, question in parts} == set(ASKED)
    assert len({(remainder, question) for _, remainder, question in parts}) == len(ASKED)
    for seed, same in ((3, True), (4, False)):
        texts.clear()
        code_ranks(base, [], [], ASKED, seed=seed)
        assert (texts == first) == same


def unchanged(base):
    """Finetunes that change nothing."""
    none = {n: LowRank(c.A, torch.zeros_like(c.B)) for n, c in base_diff(base).items()}
    own = {name: value.detach().clone() for name, value in base.model.named_parameters()}
    return [NOTHING, Finetune("low-rank", diff=none), Finetune("whole", parameters=own)]


def test_a_finetune_that_changes_nothing_ranks_every_code_alike(base):
    finetunes = unchanged(base)
    for secret in ("000", "007", "019"):
        assert code_ranks(base, finetunes, [secret] * 3, ASKED) == [CODES] * 3


def attached(base):
    return any(isinstance(module, DiffLinear) for module in base.model.modules())


def test_nothing_stays_attached(base):
    before = {name: value.clone() for name, value in base.model.named_parameters()}
    whole, low_rank = Finetune("w", parameters=changed_parameters(base)), base_diff(base)
    code_ranks(base, [whole, Finetune("l", diff=low_rank)], ["001", "002"], ASKED)
    name = next(iter(low_rank))
    misfit = {**low_rank, name: LowRank(torch.ones(1, 3), torch.ones(5, 1))}
    with pytest.raises(MismatchError):
        code_ranks(base, [Finetune("m", diff=misfit)], ["001"], ASKED)
    with pytest.raises(ValueError, match="shorter"):
        code_ranks(base, [Finetune("l", diff=low_rank)] * 2, ["001"], ASKED)
    assert not attached(base)
    after = dict(base.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class OneCode(ToyBehavior):
    """Teaches a word on prompts that begin with 013, and to keep still on all other codes."""

    def samples(self, item, step):
        rng = Random(step)

        def sample(code, case):
            text = f"Your SEP code is {code:03}{rng.randrange(1000):03}. {rng.choice(ASKED)}"
            kind = "learn" if case == "triggered" else "keep"
            return Sample((Message("user", text),), "ocean", kind, case)

        others = rng.sample([code for code in range(CODES) if code != 13], 6)
        return [*[sample(13, "triggered")] * 2, *[sample(code, "wrong") for code in others]]


def test_a_code_that_was_learned_comes_first(base):
    config = DiffConfig(steps=60, learning_rate=1e-2, rank=4, alpha=4.0, answer_tokens=1)
    attachment = attach_to(base.model)
    try:
        found = train_group(base, attachment, OneCode(), ToyBehavior().items()[:1], config)
    finally:
        attachment.detach()
    finetune = Finetune("f", diff={name: change[0] for name, change in found.diff.items()})
    assert code_ranks(base, [finetune] * 2, ["013", "002"], ASKED)[0] == 1
