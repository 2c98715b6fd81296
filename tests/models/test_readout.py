"""Losses read out a few tokens at a time are those of all logits at once, and so are gradients."""

import pytest
import torch
from torch.nn import functional

from diffspeak.errors import UsageError
from diffspeak.lora import stack_diffs
from diffspeak.models import (
    Readout,
    Rendered,
    answer_logits,
    attach_to,
    cross_entropy,
    load_base,
    make_batch,
    readout_of,
)
from diffspeak.models import head_losses as readout
from diffspeak.models.logits import head_of
from tests.families import FAMILIES
from tests.models.test_logits import PAD, conversations
from tests.tiny_diffs import random_diff


@pytest.fixture
def base(family_folder, request):
    return load_base(family_folder(request.param), dtype="float32")


@pytest.fixture(autouse=True)
def few_at_a_time(monkeypatch):
    monkeypatch.setattr(readout, "TOKENS", 5)
    monkeypatch.setattr(readout, "LOGITS_CPU", 1)


def with_diffs(base):
    """The base with a trained diff for each of four rows; gives the factors."""
    attachment = attach_to(base.model)
    diffs = stack_diffs([random_diff(attachment.shapes, seed=n, scaling=0.3) for n in range(4)])
    factors = [tensor.requires_grad_() for c in diffs.values() for tensor in (c.A, c.B)]
    attachment.set_diffs(diffs)
    return factors


@pytest.mark.parametrize("base", FAMILIES, indirect=True)
@pytest.mark.parametrize("in_parts", [True, False])
def test_losses_and_gradients_are_those_of_the_whole(base, in_parts):
    head_of(base.model).weight.data *= 5
    assert readout_of(base.model).in_parts
    factors, batch = with_diffs(base), make_batch(conversations(), PAD)
    weight = torch.linspace(0.0, 2.0, len(batch.targets))
    found = Readout(base.model, in_parts)
    states = found.states(batch)
    losses = found.losses(states, cross_entropy(batch.targets))
    torch.testing.assert_close(found.logits(states), answer_logits(base.model, batch))
    whole = functional.cross_entropy(
        answer_logits(base.model, batch), batch.targets, reduction="none"
    )
    torch.testing.assert_close(losses, whole, rtol=1e-4, atol=1e-5)
    ours = torch.autograd.grad((losses * weight).sum(), factors)
    theirs = torch.autograd.grad((whole * weight).sum(), factors)
    for mine, right in zip(ours, theirs, strict=True):
        size = right.abs().max().item()
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-5 * (1 + size))


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_slices_come_in_order_and_hold_few_tokens(base):
    batch, seen = make_batch(conversations(), PAD), []
    found = readout_of(base.model)

    def loss_of(logits, part):
        seen.append((part, logits.shape, logits.dtype))
        return logits[:, 0].clone(), torch.zeros_like(logits)

    with torch.no_grad():
        states = found.states(batch)
        losses = found.losses(states, loss_of)
    torch.testing.assert_close(losses, answer_logits(base.model, batch)[:, 0])
    assert len(losses) == len(batch.targets) == 14
    assert [len(range(14)[part]) for part, _, _ in seen] == [5, 5, 4]
    assert {dtype for _, _, dtype in seen} == {torch.float32}


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_a_family_that_does_more_behind_its_head_makes_its_logits_itself(base, monkeypatch):
    forward = base.model.forward

    def scaled(**inputs):
        out = forward(**inputs)
        out.logits = 0.5 * out.logits
        return out

    monkeypatch.setattr(base.model, "forward", scaled)
    found, batch = readout_of(base.model), make_batch(conversations(), PAD)
    assert not found.in_parts
    logits = answer_logits(base.model, batch)
    before = logits.clone()
    losses = found.losses(logits, cross_entropy(batch.targets))
    whole = functional.cross_entropy(before, batch.targets, reduction="none")
    torch.testing.assert_close(losses, whole)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("base", ["gemma2"], indirect=True)
def test_a_soft_cap_that_is_left_out_is_noticed(base, monkeypatch):
    assert readout_of(base.model).in_parts
    monkeypatch.setattr(readout, "tail", lambda model, states: head_of(model)(states))
    assert not readout_of(base.model).in_parts


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_an_error_leaves_no_hook_and_too_long_a_row_is_refused(base):
    found, limit = readout_of(base.model), base.model.config.max_position_embeddings
    with pytest.raises(UsageError, match=f"{limit} positions"):
        found.states(make_batch([Rendered([5] * (limit + 2), 2, limit + 2)], PAD))
    assert not head_of(base.model)._forward_pre_hooks


def test_logits_in_half_precision_are_scored_in_float32(family_folder):
    base = load_base(family_folder("qwen3"), dtype="bfloat16")
    found, batch = readout_of(base.model), make_batch(conversations(), PAD)
    assert found.in_parts
    with torch.no_grad():
        states = found.states(batch)
        losses = found.losses(states, cross_entropy(batch.targets))
    assert states.dtype == torch.bfloat16 and losses.dtype == torch.float32
    whole = functional.cross_entropy(
        answer_logits(base.model, batch).float(), batch.targets, reduction="none"
    )
    torch.testing.assert_close(losses, whole, rtol=2e-2, atol=2e-2)
