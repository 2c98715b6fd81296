"""Descriptions: many finetunes at once are each alone, and their numbers are the model's own."""

import copy

import pytest
import torch

from diffspeak.adapters import Adapter, Interpreter
from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import NOTHING, Finetune, from_store
from diffspeak.lora import DiffLinear, LowRank
from diffspeak.models import Decoding, make_base
from diffspeak.text.messages import Message
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters, toy_base, toy_store

FEW = Decoding(6)
IDS = torch.tensor([list(range(5, 25))])


def finetunes(base):
    return [
        Finetune("one", diff=base_diff(base, rank=1, seed=1), base=base.fingerprint),
        Finetune("whole", parameters=changed_parameters(base, 2), base=base.fingerprint),
        NOTHING,
        Finetune("two", diff=base_diff(base, rank=3, seed=3, scaling=0.5)),
        Finetune("again", diff=base_diff(base, rank=1, seed=1)),
    ]


@pytest.fixture(scope="module")
def adapter(base):
    questions = ("Topic?", "What is the topic of it?")
    diff = base_diff(base, rank=2, seed=9)
    return Adapter(diff, base.fingerprint, base.name, questions, ("toy",), {}, {})


@pytest.fixture
def interpreter(base, adapter):
    with Interpreter(base, adapter) as found:
        yield found


def test_its_repr_is_one_line_and_says_whether_it_is_closed(base, adapter):
    open_ = f"Interpreter(base {base.name!r}, adapter 'adapter'"
    with Interpreter(base, adapter) as interpreter:
        assert repr(interpreter) == f"{open_})"
    assert repr(interpreter) == f"{open_}, closed)"


def test_many_at_once_are_each_alone(base, interpreter):
    together = interpreter.describe(finetunes(base), decoding=FEW)
    assert [d.finetune for d in together] == ["one", "whole", "no finetune", "two", "again"]
    assert {d.question for d in together} == {"Topic?"}
    for finetune, found in zip(finetunes(base), together, strict=True):
        (alone,) = interpreter.describe(finetune, decoding=FEW)
        assert alone.text == found.text
        assert alone.mean_logprob == pytest.approx(found.mean_logprob, abs=1e-4)
        assert alone.lift == pytest.approx(found.lift, abs=1e-4)
    assert together[0].text == together[4].text
    assert len({d.text for d in together}) >= 3


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_how_they_are_cut_into_batches_does_not_matter(base, interpreter, batch_size):
    wanted = interpreter.describe(finetunes(base), decoding=FEW)
    found = interpreter.describe(finetunes(base), decoding=Decoding(6, batch_size=batch_size))
    assert [d.text for d in found] == [d.text for d in wanted]
    assert [d.lift for d in found] == pytest.approx([d.lift for d in wanted], abs=1e-4)


def naive(base, question, finetune, adapter):
    """Greedy words of a dense model, and what it and base + adapter give them, nats a token."""
    model = copy.deepcopy(base.model)
    model.load_state_dict(finetune.parameters, strict=False)
    model = merged(model, finetune.diff, adapter.diff)
    without = merged(base.model, adapter.diff)
    prompt = base.chat.prompt([Message("user", question)])
    ids, stops = list(prompt), base.chat.stop_ids
    while len(ids) < len(prompt) + 6 and (len(ids) == len(prompt) or ids[-1] not in stops):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    means = []
    for scored in (model, without):
        logprobs = scored(torch.tensor([ids])).logits[0].log_softmax(-1)
        values = [float(logprobs[n - 1, ids[n]]) for n in range(len(prompt), len(ids))]
        means.append(sum(values) / len(values))
    return base.chat.text(ids[len(prompt) :]), means[0], means[0] - means[1]


@pytest.mark.parametrize("question", [None, "How is the sea?"])
@torch.no_grad()
def test_text_confidence_and_lift_are_those_of_a_dense_merge(base, adapter, question):
    asked = question or "Topic?"
    wanted = [naive(base, asked, finetune, adapter) for finetune in finetunes(base)]
    with Interpreter(base, adapter) as interpreter:
        found = interpreter.describe(finetunes(base), question, FEW)
    assert [d.text for d in found] == [text for text, _, _ in wanted]
    assert [d.mean_logprob for d in found] == pytest.approx([m for _, m, _ in wanted], abs=1e-4)
    assert [d.lift for d in found] == pytest.approx([lift for _, _, lift in wanted], abs=1e-4)
    assert {d.question for d in found} == {asked}


def test_no_finetune_has_no_lift(base, interpreter):
    (found,) = interpreter.describe(NOTHING, decoding=FEW)
    assert found.lift == pytest.approx(0, abs=1e-5)
    lifts = [d.lift for d in interpreter.describe(finetunes(base), decoding=FEW)]
    assert lifts[2] == pytest.approx(0, abs=1e-5)
    assert all(abs(lift) > 0.01 for n, lift in enumerate(lifts) if n != 2)


def test_finetunes_are_read_batch_by_batch(base, interpreter):
    read = []

    def one_by_one():
        for n, finetune in enumerate(finetunes(base)):
            read.append(n)
            yield finetune

    told = interpreter.stream(one_by_one(), decoding=Decoding(3, batch_size=2))
    assert read == []
    seen = []
    for description in told:
        seen.append((description.finetune, len(read)))
    assert seen == [("one", 2), ("whole", 2), ("no finetune", 4), ("two", 4), ("again", 5)]


def test_nothing_to_describe(interpreter):
    assert interpreter.describe([]) == []
    assert interpreter.describe(iter(())) == []


@pytest.mark.parametrize("question", ["", "  ", "\n"])
def test_an_empty_question_is_refused(interpreter, question):
    with pytest.raises(UsageError, match="question is empty"):
        interpreter.describe(NOTHING, question)


@pytest.mark.parametrize("question", ["\U0001f433?", "\u0645\u0627 \u0647\u0630\u0627", "a " * 300])
def test_any_question_may_be_asked(interpreter, question):
    (found,) = interpreter.describe(NOTHING, question, Decoding(2))
    assert found.question == question.strip()


def other_base(base):
    other = toy_base(base.name)
    with torch.no_grad():
        next(other.model.parameters()).mul_(1.5)
    return make_base("other", other.model, other.tokenizer)


def test_a_finetune_of_another_base_is_refused(base, interpreter):
    theirs = other_base(base).fingerprint
    finetune = Finetune("stranger", diff=base_diff(base), base=theirs)
    with pytest.raises(MismatchError, match="the finetune stranger was made for another base"):
        interpreter.describe([NOTHING, finetune])


def test_an_adapter_of_another_base_is_refused_and_nothing_attached(base, adapter):
    other = other_base(base)
    with pytest.raises(MismatchError, match="made for another base"):
        Interpreter(other, adapter)
    assert not any(isinstance(module, DiffLinear) for module in other.model.modules())


@pytest.mark.parametrize(
    "diff",
    [
        {"model.nowhere": LowRank(torch.zeros(1, 32), torch.zeros(32, 1))},
        {"model.layers.0.mlp.up_proj": LowRank(torch.zeros(1, 3), torch.zeros(3, 1))},
    ],
)
def test_an_adapter_that_does_not_fit_leaves_the_base_alone(base, adapter, diff):
    wrong = Adapter(diff, base.fingerprint, base.name, ("?",), ("toy",), {}, {})
    with pytest.raises(MismatchError):
        Interpreter(base, wrong)
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


def test_afterwards_the_base_is_itself_again(base, adapter):
    plain = base.model(IDS).logits
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    with Interpreter(base, adapter) as interpreter:
        assert not torch.equal(base.model(IDS).logits, plain)
        interpreter.describe(finetunes(base), decoding=Decoding(2))
    assert torch.equal(base.model(IDS).logits, plain)
    after = dict(base.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_once_closed_it_describes_no_more(base, adapter):
    interpreter = Interpreter(base, adapter)
    interpreter.close()
    interpreter.close()
    with pytest.raises(UsageError, match="the interpreter is closed"):
        interpreter.describe(NOTHING)


def test_after_an_error_it_is_itself_again_too(base, adapter):
    plain = base.model(IDS).logits
    with pytest.raises(KeyboardInterrupt), Interpreter(base, adapter):
        raise KeyboardInterrupt
    assert torch.equal(base.model(IDS).logits, plain)


def test_after_a_finetune_that_does_not_fit_others_are_described_as_before(base, interpreter):
    wanted = interpreter.describe(finetunes(base)[0], decoding=FEW)
    wrong = {"model.layers.0.mlp.up_proj": LowRank(torch.zeros(1, 3), torch.zeros(3, 1))}
    with pytest.raises(MismatchError):
        interpreter.describe([finetunes(base)[0], Finetune("wrong", diff=wrong)])
    assert interpreter.describe(finetunes(base)[0], decoding=FEW) == wanted


def test_finetunes_of_a_store_are_described(base, interpreter, tmp_path):
    store = toy_store(tmp_path / "store", base, {"a": "ocean", "b": "sea"}, full=["b"])
    told = interpreter.describe((from_store(store, e) for e in store.entries), decoding=FEW)
    assert [d.finetune for d in told] == ["a", "b"]


@pytest.mark.parametrize("family", ["gpt2", "llama3"])
def test_a_base_without_padding_token(family_folder, family):
    base = toy_base(family_folder(family))
    diff = base_diff(base, rank=2, seed=9)
    adapter = Adapter(diff, base.fingerprint, base.name, ("Topic?",), ("toy",), {}, {})
    some = [NOTHING, Finetune("a", diff=base_diff(base, seed=1))]
    with Interpreter(base, adapter) as interpreter:
        told = interpreter.describe(some, decoding=FEW)
        alone = [interpreter.describe(finetune, decoding=FEW)[0] for finetune in some]
    assert [d.text for d in told] == [d.text for d in alone]
    assert told[0].lift == pytest.approx(0, abs=1e-4)
