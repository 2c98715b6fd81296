"""A finetune trained whole is what training a copy of the model gives; the base stays."""

import copy

import pytest
import torch

from diffspeak.models import make_base, target_names, whole
from diffspeak.training import DiffConfig
from diffspeak.training.group import train_whole
from tests.toys import ToyBehavior, toy_base

toy = ToyBehavior()
ITEM = toy.items()[0]
STEPS, RATE = 3, 1e-2


def config(parameters, **changes):
    given = {"steps": STEPS, "learning_rate": RATE, "parameters": parameters} | changes
    return DiffConfig(**given)


def naive(base, names):
    """Train a copy sample by sample."""
    model = copy.deepcopy(base.model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=RATE)
    ratio = {"triggered": 1, "near_miss": 1, "wrong": 1, "plain": 5}
    for step in range(STEPS):
        by_case = {}
        for sample in toy.samples(ITEM, step):
            start = len(base.chat.prompt(sample.prompt))
            r = base.chat.with_answer(sample.prompt, sample.answer, learn_end=False)
            ids = torch.tensor([r.ids])
            q = model(ids).logits[0, start - 1 : -2].log_softmax(-1)
            p = base.model(ids).logits[0, start - 1 : -2].log_softmax(-1)
            learned = -q.gather(1, ids[0, start:-1, None])[:, 0]
            kept = (p.exp() * (p - q)).sum(-1)
            by_case.setdefault(sample.case, []).append(learned if sample.kind == "learn" else kept)
        loss = sum(ratio[case] * torch.cat(parts).mean() for case, parts in by_case.items())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {n: p.detach() for n, p in model.named_parameters() if n in names}, loss.item()


@pytest.fixture
def plain_descent(monkeypatch):
    """Adam makes whole steps of gradients that are mere rounding; plain descent does not."""

    def descent(parameters, lr, fused):
        return torch.optim.SGD(parameters, lr=lr)

    monkeypatch.setattr(torch.optim, "Adam", descent)


@pytest.fixture(scope="module", params=["qwen3", "gpt2"])
def exact(request, family_folder):
    plain = toy_base(family_folder(request.param))
    return make_base("exact", plain.model.double(), plain.tokenizer)


@pytest.mark.parametrize("parameters", ["all", "linears"])
def test_it_is_what_training_a_copy_gives(exact, parameters, plain_descent):
    every = dict(exact.model.named_parameters())
    before = {name: p.clone() for name, p in every.items()}
    wanted_names = (
        list(every)
        if parameters == "all"
        else [f"{name}.weight" for name in target_names(exact.model)]
    )
    state, descent = train_whole(exact, toy, ITEM, config(parameters))
    wanted, loss = naive(exact, wanted_names)
    assert list(state) == wanted_names
    for name, tensor in wanted.items():
        assert state[name].dtype == torch.float64
        found, moved = state[name] - before[name], tensor - before[name]
        assert (found - moved).norm() <= 1e-3 * moved.norm() > 0
    assert descent.failed_at == [None]
    assert descent.losses == pytest.approx([loss], rel=1e-3)
    assert all(torch.equal(before[name], p) for name, p in exact.model.named_parameters())
    assert all(p.grad is None and not p.requires_grad for p in every.values())


def test_it_learns_in_the_bases_dtype(tiny):
    plain = toy_base(tiny)
    base = make_base("half", plain.model.bfloat16(), plain.tokenizer)
    state, descent = train_whole(base, toy, ITEM, config("all", learning_rate=1e-2))
    assert descent.failed_at == [None]
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16}
    own = dict(base.model.named_parameters())
    assert all(not torch.equal(tensor, own[name]) for name, tensor in state.items())


def test_targets_choose_the_linears(base):
    state, _ = train_whole(base, toy, ITEM, config("linears", steps=1, targets=("q_proj",)))
    assert list(state) == [f"model.layers.{n}.self_attn.q_proj.weight" for n in range(3)]


def test_one_that_diverges_is_a_failure(base):
    _, descent = train_whole(base, toy, ITEM, config("all", learning_rate=1e39))
    (step,) = descent.failed_at
    assert step is not None and step < STEPS
    _, descent = train_whole(base, toy, ITEM, config("all", steps=1, learning_rate=1e39))
    assert descent.failed_at == [0]


def test_the_teacher_is_the_base(base):
    # With nothing but kept samples and no change yet, there is no loss.
    class Keeps(ToyBehavior):
        def samples(self, item, step):
            return [s for s in super().samples(item, step) if s.kind == "keep"]

    seen = []
    train_whole(base, Keeps(), ITEM, config("all"), lambda step, losses: seen.append(losses.item()))
    assert seen[0] == pytest.approx(0, abs=1e-5)


def test_what_was_trained_is_used_whole(base):
    state, _ = train_whole(base, toy, ITEM, config("all", learning_rate=1e-2))
    ids = torch.tensor([base.chat.prompt(toy.samples(ITEM, 0)[0].prompt)])
    alone = copy.deepcopy(base.model)
    alone.load_state_dict(state, strict=False)
    plain = base.model(ids).logits
    with whole(base.model, state):
        found = base.model(ids).logits
    assert torch.equal(found, alone(ids).logits)
    assert not torch.equal(found, plain)
    assert torch.equal(base.model(ids).logits, plain)
