"""A scale is told from finetuning that is one in part; finetuning alone is left as it is."""

import torch
from torch import Generator

from diffspeak.symmetries.refine import refine


def draw(*shape, seed=0):
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def refined(weights, base):
    def step(given, wanted):
        found = (given[0] * wanted[0]).sum() / given[0].square().sum()
        weights["one"] = weights["one"] * found
        return float((found - 1).abs())

    return refine(weights, base, ["one"], lambda side: [side["one"]], step, free=1, grain=1e-16)


def test_a_scale_is_found_beside_finetuning_that_is_a_scale_in_one_direction():
    base = {"one": draw(60, 20)}
    axis = draw(20, 1, seed=1) / draw(20, 1, seed=1).norm()
    true = base["one"] + 0.5 * (base["one"] @ axis) @ axis.T
    weights = {"one": 1.3 * true}
    assert refined(weights, base)
    assert torch.allclose(weights["one"], true, atol=1e-5)


def test_finetuning_alone_is_left_as_it_is():
    base = {"one": draw(60, 20)}
    axis = draw(20, 1, seed=1) / draw(20, 1, seed=1).norm()
    for true in (
        base["one"] + 0.5 * (base["one"] @ axis) @ axis.T,
        base["one"] + 0.01 * draw(60, 20, seed=2),
        base["one"],
    ):
        weights = {"one": true.clone()}
        assert not refined(weights, base)
        assert torch.equal(weights["one"], true)
