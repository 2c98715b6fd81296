"""A whitened change is as large in all directions; what is beside it keeps its proportions."""

import pytest
import torch
from torch import Generator

from diffspeak.symmetries.whitening import middle, whitening


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
