"""Undo what was done to the residual stream: channels permuted, flipped or turned, norms scaled.

Takes weights and the base's in the plain layout; changes the weights. The embedding tells: no
other symmetry touches it. Formulas: docs/symmetries.md.
"""

import torch
from torch import Tensor

from diffspeak.symmetries import transforms as moves
from diffspeak.symmetries.architecture import Traits
from diffspeak.symmetries.found import Ledger
from diffspeak.symmetries.layout import EMBEDDING, FINAL, HEAD, POSITIONS, Weights, norms
from diffspeak.symmetries.matching import assign, cosines

ALIKE = 0.9
"""Least cosine at which two channels are held for the same."""

NEAR = 0.5
"""Largest distance of an embedding to the base's, by the base's norm, that counts as matched."""

SCALED = 0.01
"""How far a scale of the whole stream must be from 1 to be taken for disguise."""

CLEAR = 0.1
"""Logarithm of a factor that finetuning does not put on a whole norm."""


def align_stream(weights: Weights, base: Weights, traits: Traits, ledger: Ledger) -> None:
    """Match channels with the base's, by the embedding."""
    given, wanted = _tables(weights), _tables(base)
    _unscale(weights, base, traits, ledger)
    given = _tables(weights)
    likeness = cosines(given.T, wanted.T)
    order = assign(likeness.abs())
    matched = likeness[order, torch.arange(order.numel())]
    if matched.abs().min() >= ALIKE:
        _permute(weights, order, matched, traits, ledger)
        return
    left, _, right = torch.linalg.svd(given.T @ wanted)
    rotation = left @ right
    distance = (given @ rotation - wanted).norm() / wanted.norm()
    if distance > NEAR:
        ledger.flags.append(
            f"the embedding is {distance:.0%} of its norm away from the base's, however its "
            "channels are permuted or turned: the residual stream was left as it is"
        )
    elif traits.norms_behind or traits.centered:
        ledger.flags.append(
            "the embedding is turned against the base's, which is no symmetry of this "
            "architecture: the residual stream was left as it is"
        )
    else:
        _rotate(weights, base, rotation, traits)
        ledger.add("rotation", order.numel(), order.numel())


def align_norms(weights: Weights, base: Weights, traits: Traits, ledger: Ledger) -> list[str]:
    """Give norms the base's weights again where the matrices that follow were scaled against it.

    Returns:
        Names of the norms that were.
    """
    undone = []
    for norm, followers in list(norms(weights, traits)):
        given, wanted = weights[f"{norm}.weight"], base[f"{norm}.weight"]
        dead = (given.abs() < 1e-12) | (wanted.abs() < 1e-12)
        change = torch.where(dead, 1.0, wanted / torch.where(dead, 1.0, given))
        moved = int(((change - 1).abs() > 1e-6).sum())
        if moved and _compensated(weights, base, followers, change):
            moves.set_norm(weights, norm, followers, given * change)
            undone.append(norm)
            largest = torch.exp(change.abs().log().abs().max()).item()
        else:
            moved, largest = 0, 1.0
        ledger.add("norms", moved, change.numel(), largest)
    return undone


def tie_head(weights: Weights, base: Weights, traits: Traits, ledger: Ledger, grain: float) -> None:
    """Tie the head to the embedding again where the base's is and nothing is lost by it.

    The last norm becomes what makes the head the embedding, whatever the base's is.

    Args:
        weights: To be aligned.
        base: What to.
        traits: The architecture's.
        ledger: Takes what was found.
        grain: The relative distance of neighboring numbers in the checkpoint's dtype.
    """
    name = f"{HEAD}.weight"
    if not traits.tied or name not in weights:
        return
    embedding = weights[f"{EMBEDDING}.weight"]
    factor = (weights[name] * embedding).sum(0) / embedding.square().sum(0).clamp_min(1e-300)
    away = (weights[name] - embedding * factor).norm()
    if away <= max(1e-5, 2 * grain) * weights[name].norm() and factor.abs().min() > 0:
        moves.set_norm(weights, FINAL, [HEAD], weights[f"{FINAL}.weight"] * factor)
        del weights[name]
    else:
        ledger.flags.append(
            "the base's head is tied to its embedding, this one differs from it: "
            "the head was left as it is"
        )


def _unscale(weights: Weights, base: Weights, traits: Traits, ledger: Ledger) -> None:
    """Give the embedding the base's norm again, if it is another by more than finetuning does."""
    scale = (_tables(base).norm() / _tables(weights).norm().clamp_min(1e-300)).item()
    moved = abs(scale - 1) > SCALED
    ledger.add("stream-scale", int(moved), 1, max(scale, 1 / scale) if scale else 1.0)
    if moved and scale:
        moves.scale_stream(weights, traits, scale)


def _tables(weights: Weights) -> Tensor:
    names = (f"{EMBEDDING}.weight", f"{POSITIONS}.weight")
    return torch.cat([weights[name] for name in names if name in weights])


def _permute(
    weights: Weights, order: Tensor, matched: Tensor, traits: Traits, ledger: Ledger
) -> None:
    signs = matched.sign()
    if traits.centered and signs.unique().numel() > 1:
        ledger.flags.append(
            "some channels of the embedding have the other sign, which is no symmetry of this "
            "architecture"
        )
        signs = torch.ones_like(signs)
    moved = (order != torch.arange(order.numel())) | (signs < 0)
    ledger.add("permutation", int(moved.sum()), order.numel())
    if moved.any():
        moves.permute_stream(weights, order, signs)


def _rotate(weights: Weights, base: Weights, rotation: Tensor, traits: Traits) -> None:
    moves.fold_norms(weights, traits)
    moves.rotate_stream(weights, rotation)
    moves.unfold_norms(weights, base, traits)


def _compensated(weights: Weights, base: Weights, followers: list[str], change: Tensor) -> bool:
    """Whether columns of the followers were scaled against the norm, not the norm alone changed.

    Rows of the followers may still be permuted or mixed, so columns are compared by their norms.
    """
    logs = change.abs().log()
    if (change < 0).any() or logs.median().abs() > CLEAR:
        return True
    # Of the followers, the one that tells best counts: the others may be scaled or mixed too.
    before, after = [], []
    for name in followers:
        given = weights[f"{name}.weight"].norm(dim=0).clamp_min(1e-300)
        wanted = base[f"{name}.weight"].norm(dim=0).clamp_min(1e-300)
        ratio = (given / wanted).log()
        before.append(ratio.var().item())
        after.append((ratio - logs).var().item())
    return bool(min(after) < 0.5 * min(before))
