"""Fit the residual stream's disguise again, to all matrices, once the blocks are aligned.

A finetune of all parameters changes the embedding and the norms too, of which a first fit takes a
part for disguise: all matrices together tell more. Takes weights and the base's in the plain
layout; changes the weights. Knows no formula: `channels` has them.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from diffspeak.symmetries import transforms as moves
from diffspeak.symmetries.architecture import Traits
from diffspeak.symmetries.channels import (
    nearest,
    products,
    scale,
    stretch,
    turn,
    turn_to_axes,
)
from diffspeak.symmetries.layout import EMBEDDING, HEAD, POSITIONS, Weights, norms
from diffspeak.symmetries.refine import NOISE
from diffspeak.symmetries.rounding import FEW

ROUNDING = 2 * NOISE
"""A change that is no larger, by the grain, left a rotation or a scale exact: rounding averages."""

MOST = 64
"""Readers, and as many writers, that a rotation or a scale is fitted to: more tell little more."""

TABLES = (f"{EMBEDDING}.weight", f"{POSITIONS}.weight")


def turn_again(weights: Weights, base: Weights, traits: Traits, grain: float) -> bool:
    """Turn the stream nearer to the base's; whether it was turned at all.

    Args:
        weights: To be aligned; the head is not tied.
        base: What to, with a head.
        traits: The architecture's.
        grain: The relative distance of neighboring numbers in the checkpoint's dtype.
    """
    given, wanted = dict(weights), dict(base)
    moves.fold_norms(given, traits)
    moves.fold_norms(wanted, traits)
    pairs = [products(given[name], wanted[name]) for name in _some(moves.readers(given))]
    pairs += [products(given[name].T, wanted[name].T) for name in _some(_written(given))]
    tables = given[f"{EMBEDDING}.weight"], given[f"{HEAD}.weight"]
    # In few digits rows tell more than two tables, each with a rounding of its own.
    fit = turn_to_axes(*tables) if traits.tied and grain < FEW else turn
    rotation = nearest(pairs, fit, ROUNDING * grain)
    if _is_same(rotation):
        return False
    moves.rotate_stream(given, rotation)
    moves.unfold_norms(given, base, traits)
    weights.update(given)
    return True


def scale_again(weights: Weights, base: Weights, traits: Traits, grain: float) -> bool:
    """Scale the stream nearer to the base's; whether it was scaled at all. As `turn_again`."""
    pairs = [products(weights[name], base[name]) for name in TABLES if name in weights]
    if not traits.norms_behind:
        pairs += [products(weights[name].T, base[name].T) for name in _some(_written(weights))]
    factor = nearest(pairs, scale, ROUNDING * grain)[0, 0].item()
    if factor == 1 or factor <= 0:
        return False
    moves.scale_stream(weights, traits, factor)
    return True


def norms_again(weights: Weights, base: Weights, traits: Traits, moved: Collection[str]) -> bool:
    """Scale norms against what follows nearer to the base's; whether one was scaled at all.

    Args:
        weights: To be aligned.
        base: What to, with a head if the weights have one.
        traits: The architecture's.
        moved: The norms that are looked at.
    """
    changed = False
    for norm, followers in list(norms(weights, traits)):
        if norm not in moved:
            continue
        names = [f"{name}.weight" for name in followers]
        factors = nearest([products(weights[name], base[name]) for name in names], stretch)
        if _is_same(factors):
            continue
        moves.set_norm(weights, norm, followers, weights[f"{norm}.weight"] / factors.diag())
        changed = True
    return changed


def _written(weights: Weights) -> list[str]:
    return [name for name in moves.writers(weights) if weights[name].dim() == 2]


def _some(names: Sequence[str]) -> Sequence[str]:
    """Not more than `MOST` of them, from all parts of the model."""
    return names[:: -(-len(names) // MOST)]


def _is_same(matrix: Tensor) -> bool:
    return torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype))
