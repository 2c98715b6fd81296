"""What was done to channels is found although the matrix was finetuned in a few directions."""

import torch
from torch import Generator

from diffspeak.symmetries.channels import (
    nearest,
    products,
    scale,
    stretch,
    turn,
    turn_to_axes,
)

WIDTH = 12


def draw(*shape, seed=0):
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


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
