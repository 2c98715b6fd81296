"""Fit continuous symmetries to a base that was finetuned.

Takes matrices that a symmetry changes together and a fit of it; changes the weights. A fit to the
base itself would take a part of the finetuning for disguise, so the directions in which the
finetuning lies are made to count little: they are found in what a fit leaves over, and it is fitted
again, until nothing moves (iteratively reweighted least squares for the least log-determinant).
Knows no architecture.
"""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from diffspeak.symmetries.layout import Weights
from diffspeak.symmetries.whitening import Whitening, middle, whitening

ROUNDS = 24
"""Most fits that are made; a finetune of rank 16 takes 18."""

STILL = 1e-5
"""A fit that moves nothing by more than this share is the last."""

NOISE = 0.2
"""What rounding comes to, by the grain of a dtype and the size of what is rounded."""

CLEAR = 0.02
"""Nats a number by which a difference must become likelier: finetuning's own doing stays below."""

Sides = Callable[[Weights], list[Tensor]]
"""Matrices `[moved, kept]`: the symmetry mixes or scales what lies along their first axes."""

Step = Callable[[list[Tensor], list[Tensor]], float]
"""Moves the weights by the best fit of whitened sides to wanted ones; gives how far it moved."""


def refine(
    weights: Weights,
    base: Weights,
    names: Sequence[str],
    sides: Sides,
    step: Step,
    free: int,
    grain: float,
) -> bool:
    """Fit a symmetry, kept if it explains the difference.

    It does if the difference becomes likelier by more than so many fitted numbers are worth (the
    Bayesian information criterion), and clearly so.

    Args:
        weights: To be aligned.
        base: What to.
        names: The tensors that `step` changes.
        sides: What is compared.
        step: The symmetry.
        free: How many numbers it fits.
        grain: The relative distance of neighboring numbers in the checkpoint's dtype.

    Returns:
        Whether anything was changed.
    """
    given, wanted = sides(weights), sides(base)
    if all(bool((one == other).all()) for one, other in zip(given, wanted, strict=True)):
        return False
    floors = [max(NOISE * grain * float(side.square().mean().sqrt()), 1e-150) for side in wanted]
    white = [whitening(*each) for each in zip(given, wanted, floors, strict=True)]
    start = [each.sizes for each in white]
    before = {name: weights[name].clone() for name in names}
    for _ in range(ROUNDS):
        moved = step(
            [each(side) for each, side in zip(white, given, strict=True)],
            [each(side) for each, side in zip(white, wanted, strict=True)],
        )
        given = sides(weights)
        white = [whitening(*each) for each in zip(given, wanted, floors, white, strict=True)]
        if moved < STILL:
            break
    if _likelier(wanted, start, white, floors) > _worth(free, sum(side.numel() for side in wanted)):
        return True
    weights.update(before)
    return False


def _worth(free: int, numbers: int) -> float:
    """Nats by which a difference must become likelier for so many fitted numbers."""
    return max(0.5 * free * math.log(numbers), CLEAR * numbers)


def _likelier(
    wanted: list[Tensor], start: list[Tensor], white: list[Whitening], floors: list[float]
) -> float:
    """By how much a difference has become likelier since its start, in nats."""
    gains = (
        max(side.shape) * _fallen(sizes, each.sizes, floor)
        for side, sizes, each, floor in zip(wanted, start, white, floors, strict=True)
    )
    return sum(gains)


def _fallen(start: Tensor, end: Tensor, floor: float) -> float:
    """By how much all sizes together have fallen, by their logarithms, in nats.

    This times the rows is how much likelier a difference is whose rows are all drawn from one
    Gaussian. The smallest sizes, which are so by chance, count as half of the middle one.
    """
    least = max(floor, 0.5 * middle(end))
    fallen = (start.square() + least**2).log() - (end.square() + least**2).log()
    return 0.5 * float(fallen.sum())
