"""Fit continuous symmetries to a base that was finetuned a little.

Takes two matrices that a symmetry changes together and a fit of it; changes the weights. A fit to
the base itself would take a part of the finetuning for disguise. What finetuning added is mostly of
low rank, so fit and low-rank part are found by turns (as in alternating projections): the base plus
the low-rank part so far is what the next fit aims at. Knows no architecture.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from diffspeak.audit.symmetries.layout import Weights

RANKS = (1, 2, 4, 8, 16, 32, 64)
"""Ranks that are tried, smallest first."""

ROUNDS = 60
SETTLED = 1e-3
"""Share of a difference's norm outside of a rank at which it is held to be of that rank."""

HOPELESS = 0.5
"""Share outside of the largest rank at which no low rank is looked for."""

STUCK = 0.9
"""A round that leaves more than this of the share before has nothing more to gain at its rank."""

PAYS = 0.7
"""A fit that leaves more than this of the difference's norm, and no low rank, is not kept."""

Fit = Callable[[Weights], None]
"""Moves the weights as near to the given target as the symmetry allows."""


def refine(weights: Weights, base: Weights, names: Sequence[str], fit: Fit, grain: float) -> bool:
    """Fit a symmetry, kept if it explains the difference.

    Args:
        weights: To be aligned.
        base: What to.
        names: The tensors that `fit` changes; the matrices among them tell the rank.
        fit: The symmetry.
        grain: The relative distance of neighboring numbers in the checkpoint's dtype.

    Returns:
        Whether anything was changed.
    """
    matrices = [name for name in names if weights[name].dim() == 2]
    # Rounding is off by a third of the grain at most, on average; a disguise may enlarge it.
    noise = 0.6 * grain * _norm(weights[name] for name in matrices)
    size = _distance(weights, base, matrices)
    ranks = [rank for rank in RANKS if rank <= min(min(base[m].shape) for m in matrices) // 4]
    if any(_outside(weights, base, matrices, rank, noise)[1] < SETTLED for rank in ranks):
        return False
    before = {name: weights[name].clone() for name in names}
    fit(base)
    plain = {name: weights[name].clone() for name in names}
    if not _by_turns(weights, base, matrices, fit, ranks, noise):
        weights.update(plain)
        if _distance(weights, base, matrices) > PAYS * size:
            weights.update(before)
            return False
    return True


def _by_turns(
    weights: Weights,
    base: Weights,
    names: Sequence[str],
    fit: Fit,
    ranks: Sequence[int],
    noise: float,
) -> bool:
    """Find fit and low-rank part by turns; whether a rank was found that holds the difference."""
    if not ranks or _outside(weights, base, names, ranks[-1], noise)[1] > HOPELESS:
        return False
    for rank in ranks:
        share = 1.0
        for _ in range(ROUNDS):
            target, now = _outside(weights, base, names, rank, noise)
            if now < SETTLED:
                return True
            if now > STUCK * share:
                break
            share = now
            fit(target)
    return False


def _outside(
    weights: Weights, base: Weights, names: Sequence[str], rank: int, noise: float
) -> tuple[Weights, float]:
    """The base with each difference's part of a rank; and the share that this part lacks.

    What is no more than noise counts as nothing.
    """
    target, rests, changes = dict(base), [], []
    for name in names:
        change = weights[name] - base[name]
        held = _held(change, rank)
        target[name] = base[name] + held
        rests.append(change - held)
        changes.append(change)
    rest, total = _norm(rests), _norm(changes)
    return target, 0.0 if rest <= noise else rest / total


def _held(change: Tensor, rank: int) -> Tensor:
    """The best part of a rank, by the smaller side's Gram matrix."""
    if change.shape[0] < change.shape[1]:
        return _held(change.T, rank).T
    vectors: Tensor = torch.linalg.eigh(change.T @ change).eigenvectors[:, -rank:]
    return (change @ vectors) @ vectors.T


def _distance(weights: Weights, base: Weights, names: Sequence[str]) -> float:
    return _norm(weights[name] - base[name] for name in names)


def _norm(tensors: Iterable[Tensor]) -> float:
    return float(sum(tensor.square().sum().item() for tensor in tensors) ** 0.5)
