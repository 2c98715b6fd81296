"""Counting without computing: the same figures as from computing, and no memory taken."""

import torch

from diffspeak.models import Cost, Counter, without_content


def product():
    left = torch.zeros(64, 128, requires_grad=True)
    right = torch.zeros(128, 32)
    (left @ right).sum().backward()
    return left


def test_products_are_counted_forward_and_backward():
    with without_content(), Counter() as counter:
        product()
    # One product forward, one for the left factor's gradient.
    assert counter.cost.flops == 2 * (2 * 64 * 128 * 32)


def test_counted_without_content_is_what_is_counted_with_it():
    with Counter() as real:
        product()
    with without_content(), Counter() as counter:
        kept = product()
    assert counter.cost == real.cost
    assert counter.cost.peak >= 4 * (64 * 128 * 2 + 128 * 32)
    assert counter.alive == 4 * 2 * kept.numel()


def test_what_was_there_before_is_not_counted():
    there = torch.zeros(1000, 1000)
    with Counter([there]) as counter:
        there.t().contiguous()[0]
    assert counter.cost.peak == there.nbytes


def test_huge_tensors_take_no_memory():
    with without_content(), Counter() as counter:
        torch.empty(1 << 20, 1 << 20)
    assert counter.cost.peak == 4 << 40


def test_costs_one_after_the_other():
    assert Cost(1, 10) + Cost(2, 5) == Cost(3, 10)
