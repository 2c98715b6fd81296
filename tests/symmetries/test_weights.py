"""What rounding adds is taken out where it can be told, and only there."""

import pytest
import torch
from torch import Generator

from diffspeak.symmetries.weights import drop_rounding


def draw(*shape, seed=0):
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def dropped(weight, base, dtype=torch.bfloat16):
    return drop_rounding(weight, base, dtype)


@pytest.mark.parametrize("shape", [(96, 64), (64, 96)])
def test_most_of_it_goes_and_finetuning_stays(shape):
    base = draw(*shape)
    true = base + 0.01 * draw(shape[0], 2, seed=1) @ draw(2, shape[1], seed=2)
    turn = torch.linalg.qr(draw(shape[1], shape[1], seed=3)).Q
    rounded = (true @ turn).bfloat16().double() @ turn.T
    found = dropped(rounded, base)
    assert (found - true).norm() < 0.4 * (rounded - true).norm()


def test_a_change_in_all_directions_stays():
    base = draw(64, 48)
    true = base + 0.02 * draw(64, 48, seed=1)
    assert torch.equal(dropped(true, base), true)


def test_numbers_of_the_dtype_and_fine_numbers_stay():
    base = draw(64, 48)
    rounded = base.bfloat16().double()
    assert torch.equal(dropped(rounded, base), rounded)
    turned = base + 1e-4 * draw(64, 48, seed=1)
    assert torch.equal(dropped(turned, base, torch.float32), turned)
    assert not torch.equal(dropped(turned, base), turned)
