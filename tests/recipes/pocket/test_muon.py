"""Muon's step is the one of a plain loop in float64."""

import copy

import pytest
import torch

from recipes.pocket.muon import Muon, orthogonal

SHAPES = [(6, 4), (4, 6), (6, 4), (5, 5)]


def naive_direction(gradient, momentum):
    """Newton and Schulz's iteration on one matrix, as Jordan et al. write it."""
    x = 0.05 * gradient + 0.95 * momentum
    x = x.T if x.shape[0] > x.shape[1] else x
    x = x / (torch.linalg.norm(x) + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
    return x.T if gradient.shape[0] > gradient.shape[1] else x


def test_steps_equal_a_naive_float64_reference():
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    naive = [matrix.detach().double().clone() for matrix in matrices]
    momenta = [torch.zeros_like(matrix) for matrix in naive]
    optimizer = Muon(matrices, lr=0.1)
    for _ in range(3):
        for n, matrix in enumerate(matrices):
            matrix.grad = torch.randn(matrix.shape, generator=generator)
            gradient = matrix.grad.double()
            momenta[n] = 0.95 * momenta[n] + 0.05 * gradient
            direction = naive_direction(gradient, momenta[n])
            naive[n] = naive[n] * (1 - 0.1 * 0.05)
            naive[n] -= 0.1 * 0.2 * max(matrix.shape) ** 0.5 * direction
        optimizer.step()
    for matrix, right in zip(matrices, naive, strict=True):
        torch.testing.assert_close(matrix.detach().double(), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 24, 8), (2, 8, 24), (1, 1, 5)])
def test_singular_values_come_near_one(shape):
    update = orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
    values = torch.linalg.svdvals(update)
    # The smallest ones of a square matrix are too small to be raised in five rounds.
    assert values.max() < 1.3 and values.median() > 0.6
    if shape[1] != shape[2]:
        assert values.min() > 0.6


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ValueError, match="matrices only, not a tensor of 1 axes"):
        Muon([torch.zeros(2, 2), torch.zeros(3)], lr=0.1)


def test_a_missing_gradient_is_refused():
    first, second = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    first.grad = torch.ones(2, 2)
    with pytest.raises(ValueError, match="a gradient for every matrix"):
        Muon([first, second], lr=0.1).step()


def test_a_restored_optimizer_goes_on_alike():
    def fresh():
        matrices = [torch.nn.Parameter(torch.eye(3)), torch.nn.Parameter(torch.ones(2, 3))]
        return matrices, Muon(matrices, lr=0.1)

    def step(matrices, optimizer, seed):
        generator = torch.Generator().manual_seed(seed)
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()

    whole, optimizer = fresh()
    step(whole, optimizer, 0)
    resumed, restored = fresh()
    with torch.no_grad():
        for old, new in zip(whole, resumed, strict=True):
            new.copy_(old)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(whole, optimizer, 1)
    step(resumed, restored, 1)
    assert all(torch.equal(old, new) for old, new in zip(whole, resumed, strict=True))
