"""Closed forms find what was put on, and the nearest where nothing fits exactly."""

import torch
from torch import Generator

from diffspeak.symmetries.least_squares import assign, invertible, pair_numbers, scales
from diffspeak.symmetries.transforms import turn_matrix


def draw(*shape, seed=0):
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def test_an_invertible_matrix_is_found():
    left, right, matrix = draw(6, 20), draw(6, 30, seed=1), draw(6, 6, seed=2)
    given = torch.linalg.inv(matrix) @ left, matrix.T @ right
    found = invertible(*(side[None] for side in (*given, left, right)))
    assert torch.allclose(found[0], matrix, atol=1e-8)


def test_the_nearest_matrix_cannot_be_bettered():
    left, right = draw(4, 9), draw(4, 9, seed=1)
    left_to, right_to = left + 0.1 * draw(4, 9, seed=2), right + 0.1 * draw(4, 9, seed=3)
    best = invertible(*(side[None] for side in (left, right, left_to, right_to)))[0]

    def miss(matrix):
        against = torch.linalg.inv(matrix).T @ right
        return (matrix @ left - left_to).square().sum() + (against - right_to).square().sum()

    for seed in range(20):
        assert miss(best) <= miss(best + 1e-2 * draw(4, 4, seed=10 + seed))


def test_pair_numbers_are_found():
    queries, keys = draw(8, 12), draw(8, 7, seed=1)
    z = torch.complex(draw(4, seed=2), draw(4, seed=3))
    given = torch.linalg.inv(turn_matrix(z)) @ queries, turn_matrix(z).T @ keys
    assert torch.allclose(pair_numbers(*given, queries, keys), z)


def test_scales_are_found_with_their_signs():
    left, right, s = draw(8, 12), draw(8, 7, seed=1), draw(8, seed=2)
    found = scales(left / s[:, None], right * s[:, None], left, right)
    assert torch.allclose(found, s)


def test_assignment_is_one_to_one_and_stays_where_nothing_is_gained():
    scores = torch.tensor([[0.9, 0.8, 0.0], [0.8, 0.1, 0.0], [0.0, 0.0, 0.5]]).double()
    assert assign(scores).tolist() == [1, 0, 2]
    assert assign(torch.zeros(3, 3).double()).tolist() == [0, 1, 2]
