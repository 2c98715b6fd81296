"""Disguise is told from finetuning: it is found beside it, and not where there is nothing else."""

import pytest
import torch
from torch import Generator

from diffspeak.symmetries.refinement import (
    middle,
    nearest,
    products,
    refine,
    scale,
    stretch,
    triangle,
    turn,
    turn_to_axes,
    whitening,
)

WIDTH = 12


def draw(*shape, seed=0):
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(40, 10), (10, 40)])
def test_it_is_the_inverse_root_of_what_the_change_comes_to(shape):
    wanted = draw(*shape)
    change = draw(shape[0], 3, seed=1) @ draw(3, shape[1], seed=2)
    white = whitening(wanted + change, wanted, floor=0.5)
    squares = change.T @ change / shape[0] + white.width**2 * torch.eye(shape[1]).double()
    values, axes = torch.linalg.eigh(squares)
    assert torch.allclose(white(wanted), wanted @ (axes / values.sqrt()) @ axes.T)


def test_the_width_falls_to_the_middle_size_and_not_below_the_floor():
    wanted = draw(40, 10)
    given = wanted + 0.01 * draw(40, 10, seed=1) + draw(40, 1, seed=2) @ draw(1, 10, seed=3)
    white = whitening(given, wanted, floor=1e-9)
    widths = [white.width]
    for _ in range(20):
        white = whitening(given, wanted, 1e-9, white)
        widths.append(white.width)
    assert widths == sorted(widths, reverse=True) and widths[0] > 50 * widths[-1]
    assert widths[-1] == middle(white.sizes)
    assert whitening(given, wanted, 7.0, white).width == 7.0


def refined(given, base):
    """A matrix times the scale that was fitted to it, if one was."""

    def fit(white, wanted):
        return (white[0] * wanted[0]).sum().reshape(1) / white[0].square().sum()

    def move(sides, found):
        return [sides[0] * found]

    found = refine([[given], [base]], fit, move, free=1, grain=1e-16)
    return None if found is None else given * found


def test_a_scale_is_found_beside_finetuning_that_is_a_scale_in_one_direction():
    base = draw(60, 20)
    axis = draw(20, 1, seed=1) / draw(20, 1, seed=1).norm()
    true = base + 0.5 * (base @ axis) @ axis.T
    assert torch.allclose(refined(1.3 * true, base), true, atol=1e-5)


def test_finetuning_alone_is_left_as_it_is():
    base = draw(60, 20)
    axis = draw(20, 1, seed=1) / draw(20, 1, seed=1).norm()
    for true in (
        base + 0.5 * (base @ axis) @ axis.T,
        base + 0.01 * draw(60, 20, seed=2),
        base,
    ):
        assert refined(true, base) is None


def finetuned(wanted, seed):
    change = draw(len(wanted), 1, seed=seed) @ draw(1, WIDTH, seed=seed + 1)
    return wanted + 0.2 * change


def pairs_of(moved):
    """Two matrices, finetuned and moved, with the base's."""
    bases = [draw(40, WIDTH, seed=1), draw(30, WIDTH, seed=2)]
    return [products(finetuned(base, 10 + base.shape[0]) @ moved, base) for base in bases]


def test_a_turn_is_found_much_nearer_than_by_least_squares():
    rotation = torch.linalg.qr(draw(WIDTH, WIDTH)).Q
    pairs = pairs_of(rotation.T)
    rough = turn(sum(pair.given for pair in pairs), sum(pair.cross for pair in pairs))
    assert (nearest(pairs, turn) - rotation).norm() < 0.02 * (rough - rotation).norm()


def test_scales_are_found():
    scales = draw(WIDTH).exp()
    assert torch.allclose(nearest(pairs_of(torch.diag(1 / scales)), stretch), scales.diag())
    same = torch.eye(WIDTH).double()
    assert torch.allclose(nearest(pairs_of(same / 3), scale), 3 * same)


def test_nothing_is_moved_where_the_change_lies_in_few_directions():
    same = torch.eye(WIDTH).double()
    for fit in (turn, stretch, scale):
        assert torch.equal(nearest(pairs_of(same), fit), same)


def test_two_tables_of_one_origin_tell_the_turn_whatever_finetuning_changed():
    base, gains = draw(200, WIDTH), 1 + torch.arange(WIDTH) / 4
    everywhere = base + 0.1 * draw(200, WIDTH, seed=5)
    angles = 0.01 * draw(WIDTH, WIDTH, seed=3)
    rotation = torch.linalg.matrix_exp(angles - angles.T)
    given, told = everywhere @ rotation.T, (everywhere * gains) @ rotation.T
    pair = products(given, base)
    assert (nearest([pair], turn) - rotation).norm() > 1e-2
    assert torch.allclose(nearest([pair], turn_to_axes(given, told)), rotation, atol=1e-6)


def test_a_triangle_of_chunks_tells_the_turn_as_the_tables_do():
    given, told = draw(200, WIDTH), draw(200, WIDTH, seed=1)
    above = None
    for chunk in torch.cat([given, told], 1).split(48):
        above = triangle(chunk, above)
    pair = products(given, draw(200, WIDTH, seed=2))
    whole = nearest([pair], turn_to_axes(given, told))
    assert torch.allclose(nearest([pair], turn_to_axes(*above.chunk(2, 1), 200)), whole)
