"""Low-rank factors against plain matrices: numpy's and scipy's where they have the operation."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffspeak.errors import MismatchError
from diffspeak.lora import LinearShape, LowRank, concatenate, from_dense, stack, stack_diffs
from tests.tiny_diffs import random_change

SHAPE = LinearShape(7, 5)
KINDS = [(1, 2.0), (3, 0.5), (2, 1.0)]
"""Rank and scaling of three changes."""


def changes(kinds=KINDS) -> list[LowRank]:
    return [random_change(SHAPE, rank, scaling, i) for i, (rank, scaling) in enumerate(kinds)]


def plain(change: LowRank) -> np.ndarray:
    return change.scaling * change.B.numpy() @ change.A.numpy()


def assert_dense(change: LowRank, expected) -> None:
    np.testing.assert_allclose(change.dense().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("A", "B"),
    [((2, 7), (5, 3)), ((4, 2, 7), (3, 5, 2)), ((4, 2, 7), (5, 2)), ((2, 7), (1, 5, 2))],
)
def test_factors_that_cannot_be_multiplied_are_refused(A, B):
    with pytest.raises(ValueError, match="factors do not fit") as error:
        LowRank(torch.zeros(A), torch.zeros(B))
    assert str(A) in str(error.value) and str(B) in str(error.value)


@pytest.mark.parametrize(("rank", "scaling"), KINDS)
def test_one_change_in_all_its_forms(rank, scaling):
    change = random_change(SHAPE, rank, scaling)
    assert_dense(change, plain(change))
    assert_dense(change.scaled(-3.0), -3.0 * plain(change))
    assert_dense(change.folded(), plain(change))
    assert change.folded().scaling == 1.0
    assert_dense(change.padded(6), plain(change))
    assert (change.rank, change.padded(6).rank) == (rank, 6)
    assert not change.is_stack


def test_a_change_is_never_cut_to_a_smaller_rank():
    with pytest.raises(ValueError, match="rank 3 does not fit into rank 2"):
        random_change(SHAPE, rank=3).padded(2)


@given(st.lists(st.tuples(st.integers(1, 6), st.floats(-4, 4)), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_a_stack_holds_each_change(kinds):
    parts = changes(kinds)
    stacked = stack(parts)
    assert stacked.is_stack
    assert stacked.A.shape == (len(kinds), max(rank for rank, _ in kinds), SHAPE.inputs)
    for i, part in enumerate(parts):
        assert_dense(stacked[i], plain(part))
        assert not stacked[i].is_stack
    assert_dense(stacked, np.stack([plain(part) for part in parts]))


def test_scalings_that_agree_are_kept_and_factors_left_as_they_are():
    parts = changes([(2, 0.25), (2, 0.25)])
    stacked = stack(parts)
    assert stacked.scaling == 0.25
    assert torch.equal(stacked.B[1], parts[1].B)


@pytest.mark.parametrize("chosen", [slice(1, None), torch.tensor([2, 0, 2])])
def test_several_tasks_of_a_stack(chosen):
    stacked = stack(changes())
    assert torch.equal(stacked[chosen].A, stacked.A[chosen])
    assert torch.equal(stacked[chosen].dense(), stacked.dense()[chosen])


@given(st.lists(st.tuples(st.integers(1, 6), st.floats(-4, 4)), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_concatenating_is_adding(kinds):
    parts = changes(kinds)
    joined = concatenate(parts)
    assert joined.rank == sum(rank for rank, _ in kinds)
    np.testing.assert_allclose(joined.dense(), sum(plain(p) for p in parts), rtol=0, atol=1e-4)


def test_stacks_concatenate_task_by_task():
    first, second = stack(changes()), stack(changes(KINDS[::-1]))
    joined = concatenate([first, second])
    torch.testing.assert_close(joined.dense(), first.dense() + second.dense())


@pytest.mark.parametrize("rank", [1, 3, 5, 9])
def test_truncation_is_the_best_of_its_rank(rank):
    dense = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    factors, share = from_dense(dense, rank)
    U, S, Vh = scipy.linalg.svd(dense.double().numpy(), full_matrices=False)
    assert factors.rank == min(rank, 5)
    assert factors.A.dtype == torch.float32
    assert_dense(factors, (U[:, :rank] * S[:rank]) @ Vh[:rank])
    assert share.item() == pytest.approx((S[:rank] ** 2).sum() / (S**2).sum(), abs=1e-12)
    error = torch.linalg.norm(dense - factors.dense()).item()
    assert error == pytest.approx(np.sqrt((S[rank:] ** 2).sum()), abs=1e-5)
    # Both factors carry the same weight, so that training goes on evenly from here.
    torch.testing.assert_close(factors.A.norm(dim=1), factors.B.norm(dim=0))


@pytest.mark.parametrize("shape", [LinearShape(7, 5), LinearShape(5, 7), LinearShape(1, 6)])
def test_a_low_rank_change_comes_back_exactly(shape):
    dense = random_change(shape, rank=2, scaling=0.3).dense()
    factors, share = from_dense(dense, 2)
    torch.testing.assert_close(factors.dense(), dense)
    assert share.item() == pytest.approx(1.0, abs=1e-9)


def test_truncation_of_many_at_once():
    dense = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1))
    dense[1] = 0
    factors, share = from_dense(dense, 2)
    for i, one in enumerate(dense):
        alone, alone_share = from_dense(one, 2)
        torch.testing.assert_close(factors[i].dense(), alone.dense())
        torch.testing.assert_close(share[i], alone_share)
    assert share[1] == 1.0
    assert torch.equal(factors[1].dense(), torch.zeros(5, 7))


def test_truncation_keeps_the_dtype_of_the_change():
    dense = random_change(SHAPE).dense().bfloat16()
    factors, _ = from_dense(dense, 5)
    assert factors.A.dtype == factors.B.dtype == torch.bfloat16
    torch.testing.assert_close(factors.dense(), dense, rtol=0.02, atol=0.02)


def test_a_module_that_one_diff_lacks_is_zero_there():
    a, b, c = changes()
    stacked = stack_diffs([{"x": a, "y": b}, {"x": c}, {}])
    assert list(stacked) == ["x", "y"]
    nothing = np.zeros((SHAPE.outputs, SHAPE.inputs))
    assert_dense(stacked["x"], np.stack([plain(a), plain(c), nothing]))
    assert_dense(stacked["y"], np.stack([plain(b), nothing, nothing]))
    assert stack_diffs([{}, {}]) == {}


def test_diffs_of_different_models_do_not_stack():
    with pytest.raises(MismatchError, match="x maps 7 to 5 in one and 7 to 6 in another"):
        stack_diffs([{"x": random_change(SHAPE)}, {"x": random_change(LinearShape(7, 6))}])
