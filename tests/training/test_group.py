"""Finetunes trained at once are those trained alone, and one that breaks disturbs no other."""

import math

import pytest
import torch

from diffspeak.lora import DiffLinear, LowRank
from diffspeak.models import attach_to, make_base
from diffspeak.training import DiffConfig, train_group
from diffspeak.training import group as module
from tests.toys import ToyBehavior, toy_base

toy = ToyBehavior()
ITEMS = toy.items()[:3]
FEW = DiffConfig(steps=4, learning_rate=1e-2, rank=2, alpha=2.0)
# Four steps of Adam move a factor by about 4e-2.
ROUNDING = {"rtol": 1e-3, "atol": 1e-5}


@pytest.fixture(scope="module")
def exact(tiny):
    """The base in float64: there, other neighbors in a batch round away to nothing."""
    plain = toy_base(tiny)
    return make_base("exact", plain.model.double(), plain.tokenizer)


def trained(base, items, config=FEW, on_step=None):
    attachment = attach_to(base.model)
    try:
        return train_group(base, attachment, toy, items, config, on_step)
    finally:
        attachment.detach()


def factors(found, task):
    one = {name: change[task] for name, change in found.diff.items()}
    return {f"{name}.{side}": getattr(c, side) for name, c in one.items() for side in "AB"}


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(one, other, **tolerance)


@pytest.fixture(scope="module")
def together(exact):
    return trained(exact, ITEMS)


@pytest.fixture(scope="module")
def healthy(base):
    return trained(base, ITEMS)


@pytest.mark.parametrize("task", range(3))
def test_many_at_once_are_each_alone(exact, together, task):
    alone = trained(exact, [ITEMS[task]])
    assert_same(factors(together, task), factors(alone, 0), **ROUNDING)
    assert together.losses[task] == pytest.approx(alone.losses[0], rel=1e-4)
    assert together.failed_at == [None] * 3


def test_the_order_of_tasks_does_not_matter(exact, together):
    back = trained(exact, ITEMS[::-1])
    for task in range(3):
        assert_same(factors(together, task), factors(back, 2 - task), **ROUNDING)


@pytest.mark.parametrize("max_tokens", [100, 300])
def test_neither_does_how_a_step_is_cut_into_batches(exact, together, max_tokens):
    found = trained(exact, ITEMS, FEW.model_copy(update={"max_tokens": max_tokens}))
    for task in range(3):
        assert_same(factors(found, task), factors(together, task), **ROUNDING)


def test_in_float32_they_agree_to_rounding(base, healthy):
    alone = trained(base, ITEMS[1:2])
    assert_same(factors(healthy, 1), factors(alone, 0), rtol=1e-2, atol=1e-3)


def test_the_same_call_gives_the_same_bits(base, healthy):
    again = trained(base, ITEMS)
    for task in range(3):
        assert_same(factors(healthy, task), factors(again, task), rtol=0, atol=0)


def test_what_is_learned_depends_on_the_seed(base):
    other = trained(base, ITEMS[:1], FEW.model_copy(update={"seed": 1}))
    A = factors(trained(base, ITEMS[:1]), 0)
    assert not any(torch.equal(A[name], value) for name, value in factors(other, 0).items())


class SameEveryStep(ToyBehavior):
    """Gives the same samples again and again."""

    def samples(self, item, step):
        return super().samples(item, 0)


def test_the_loss_falls(base):
    seen = []
    config = FEW.model_copy(update={"steps": 20})
    attachment = attach_to(base.model)

    def watch(step, losses):
        seen.append((step, losses.clone()))

    try:
        found = train_group(base, attachment, SameEveryStep(), ITEMS[:2], config, watch)
    finally:
        attachment.detach()
    assert [step for step, _ in seen] == list(range(20))
    losses = torch.stack([loss for _, loss in seen])
    assert bool((losses[-1] < 0.6 * losses[0]).all())
    # The mean over the last tenth of the steps.
    assert found.losses == pytest.approx(losses[-2:].mean(0).tolist(), rel=1e-5)


@pytest.mark.parametrize("warmup, decay", [(0, False), (4, False), (0, True), (2, True)])
def test_the_learning_rate_follows_its_schedule(warmup, decay):
    config = DiffConfig(steps=10, warmup=warmup, decay=decay)
    shares = [module._rate_share(step, config) for step in range(10)]
    assert shares[:warmup] == [(step + 1) / warmup for step in range(warmup)]
    rest = shares[warmup:]
    assert rest[0] == 1
    assert all(0 < share <= 1 for share in shares)
    steps = [b - a for a, b in zip(rest, rest[1:], strict=False)]
    assert steps == pytest.approx([-1 / (10 - warmup) if decay else 0.0] * len(steps))


def test_the_base_is_left_as_it_was(base):
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    trained(base, ITEMS[:1])
    after = dict(base.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None and not p.requires_grad for p in after.values())


def test_an_attachment_is_free_again_after_an_interruption(base):
    attachment = attach_to(base.model)

    def interrupt(step, losses):
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            train_group(base, attachment, toy, ITEMS, FEW, interrupt)
        linears = [m for m in base.model.modules() if isinstance(m, DiffLinear)]
        assert linears and all(linear.diff is None for linear in linears)
    finally:
        attachment.detach()


def spoiled(monkeypatch, task, value):
    """Start one task from factors that its training cannot survive."""
    fresh = module.random_factors

    def spoil(*args):
        made = fresh(*args)
        for change in made.values():
            change.A[task] = change.A[task].sign() * value
        return made

    monkeypatch.setattr(module, "random_factors", spoil)


@pytest.mark.parametrize("task, value", [(0, math.inf), (1, math.nan), (2, 3e38), (1, 1e38)])
def test_a_finetune_that_breaks_disturbs_no_other(base, healthy, monkeypatch, task, value):
    spoiled(monkeypatch, task, value)
    found = trained(base, ITEMS)
    assert found.failed_at == [0 if n == task else None for n in range(3)]
    assert_others_same(found, healthy, task)


@pytest.mark.parametrize("task", range(3))
def test_neither_does_one_that_breaks_later(base, healthy, task):
    attachment = attach_to(base.model)

    def spoil(step, losses):
        if step == 1:
            for linear in attachment.linears.values():
                linear.diff.B.data[task] = math.nan

    try:
        found = train_group(base, attachment, toy, ITEMS, FEW, spoil)
    finally:
        attachment.detach()
    assert found.failed_at == [2 if n == task else None for n in range(3)]
    assert_others_same(found, healthy, task)


def assert_others_same(found, healthy, task):
    for other in {0, 1, 2} - {task}:
        assert_same(factors(found, other), factors(healthy, other), rtol=0, atol=0)
        assert found.losses[other] == healthy.losses[other]


def test_a_finetune_that_breaks_alone_ends_too(base, monkeypatch):
    spoiled(monkeypatch, 0, math.inf)
    assert trained(base, ITEMS[:1]).failed_at == [0]


def test_factors_that_break_at_the_last_step_are_a_failure(base):
    # The loss of the only step is fine; what Adam makes of it is not.
    config = DiffConfig(steps=1, learning_rate=1e39)
    assert trained(base, ITEMS[:2], config).failed_at == [0, 0]


def test_low_rank_factors_have_the_shapes_of_the_linears(base):
    found = trained(base, ITEMS[:2], FEW.model_copy(update={"rank": 3, "alpha": 6.0}))
    for change in found.diff.values():
        assert isinstance(change, LowRank)
        assert change.scaling == 2
        assert change.rank == 3
        assert len(change.A) == 2
        assert change.A.dtype == change.B.dtype == torch.float32
        assert not change.A.requires_grad
