"""Undo what was done to the residual stream, its norms and its means, and to a tied head.

The embedding tells first: no other symmetry touches it. A finetune of all parameters changes it and
the norms too, of which this first fit takes a part for disguise; so once blocks are aligned, the
stream is fitted again to all matrices together. Formulas: docs/symmetries.md.
"""

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from diffspeak.symmetries import transforms
from diffspeak.symmetries.architecture import EMBEDDING, ENDS, HEAD, POSITIONS, PlainWeights
from diffspeak.symmetries.least_squares import assign
from diffspeak.symmetries.refinement import (
    NOISE,
    ChannelFit,
    Products,
    nearest,
    products,
    scale,
    stretch,
    triangle,
    turn,
    turn_to_axes,
)
from diffspeak.symmetries.weights import FEW, BlockwiseWeights, ModelPair

ALIKE = 0.9
"""Least cosine at which two channels are held for the same."""

NEAR = 0.5
"""Largest distance of an embedding to the base's, by the base's norm, that counts as matched."""

SCALED = 0.01
"""How far a scale of the whole stream must be from 1 to be taken for disguise."""

CLEAR = 0.1
"""Logarithm of a factor that finetuning does not put on a whole norm."""

ROUNDING = 2 * NOISE
"""A change that is no larger, by the grain, left a rotation or a scale exact: rounding averages."""

MOST = 64
"""Readers, and as many writers, that a rotation or a scale is fitted to: more tell little more."""

BLOCKS, NUMBERS = 2, 2**27
"""Cross products of all these hold no more numbers than so many blocks, or than 1 GiB."""

Norm = tuple[int, str]
"""A norm's part and its name there."""


def align_stream(models: ModelPair) -> None:
    """Match channels with the base's, by the embedding."""
    cross, ours, theirs = (torch.zeros((), dtype=torch.float64) for _ in range(3))
    for pieces in models.pieces(ENDS):
        given, wanted = map(_tables, pieces)
        cross = cross + given.T @ wanted
        ours, theirs = ours + given.square().sum(0), theirs + wanted.square().sum(0)
    factor = _unscale(models, float(ours.sum()), float(theirs.sum()))
    cross, ours = factor * cross, factor**2 * ours
    norms = [squares.sqrt().clamp_min(1e-300) for squares in (ours, theirs)]
    likeness = cross / norms[0][:, None] / norms[1]
    order = assign(likeness.abs())
    matched = likeness[order, torch.arange(order.numel())]
    if matched.abs().min() >= ALIKE:
        _permute(models, order, matched.sign())
        return
    rotation = turn(cross, cross)
    squares = ours.sum() + theirs.sum() - 2 * (rotation * cross).sum()
    distance = (squares.clamp_min(0) / theirs.sum()).sqrt().item()
    if distance > NEAR:
        models.findings.flags.append(
            f"the embedding is {distance:.0%} of its norm away from the base's, however its "
            "channels are permuted or turned: the residual stream was left as it is"
        )
    elif models.traits.norms_behind or models.traits.centered:
        models.findings.flags.append(
            "the embedding is turned against the base's, which is no symmetry of this "
            "architecture: the residual stream was left as it is"
        )
    else:
        models.given.apply(transforms.fold_norms, models.traits)
        _rotate(models, rotation)
        models.findings.add("rotation", order.numel(), order.numel())


def align_norms(models: ModelPair, part: int) -> list[Norm]:
    """Give norms the base's weights again where the matrices that follow were scaled against it.

    Returns:
        The norms that were.
    """
    undone = []
    given, wanted = models.first(part)
    for norm, followers in transforms.norms_before(given, models.traits).items():
        own, base = given[f"{norm}.weight"], wanted[f"{norm}.weight"]
        dead = (own.abs() < 1e-12) | (base.abs() < 1e-12)
        change = torch.where(dead, 1.0, base / torch.where(dead, 1.0, own))
        moved = int(((change - 1).abs() > 1e-6).sum())
        if moved and _compensated(models, part, followers, change):
            models.given.apply(transforms.set_norm, norm, followers, own * change, part=part)
            undone.append((part, norm))
            largest = torch.exp(change.abs().log().abs().max()).item()
        else:
            moved, largest = 0, 1.0
        models.findings.add("norms", moved, change.numel(), largest)
    return undone


def fit_stream_again(models: ModelPair, scaled: Collection[Norm]) -> bool:
    """Fit what was done to the stream again, now to all matrices.

    Args:
        models: Their blocks aligned.
        scaled: The norms that were found to be scaled.

    Returns:
        Whether that moved anything.
    """
    found = {undone.kind for undone in models.findings.undone()}
    turned = "rotation" in found and _turn_again(models)
    moved = "stream-scale" in found and _scale_again(models)
    changed = turned or moved
    for part in models.given.parts:
        norms = transforms.norms_before(models.given.names(part), models.traits)
        for norm, followers in norms.items():
            if "rotation" in found or (part, norm) in scaled:
                changed = _scale_norm_again(models, part, norm, followers) or changed
    return changed


def tie_head(models: ModelPair) -> None:
    """Tie the head to the embedding again where the base's is and nothing is lost by it.

    The last norm becomes what makes the head the embedding, whatever the base's is.
    """
    if not models.traits.tied or HEAD not in models.given.first(ENDS):
        return
    cross, squares, away, norm = (torch.zeros((), dtype=torch.float64) for _ in range(4))
    for piece in models.given.pieces(ENDS):
        cross = cross + (piece[HEAD] * piece[EMBEDDING]).sum(0)
        squares = squares + piece[EMBEDDING].square().sum(0)
    factor = cross / squares.clamp_min(1e-300)
    for piece in models.given.pieces(ENDS):
        away = away + (piece[HEAD] - piece[EMBEDDING] * factor).square().sum()
        norm = norm + piece[HEAD].square().sum()
    near = away.sqrt() <= max(1e-5, 2 * models.grain) * norm.sqrt()
    if near and factor.abs().min() > 0:
        models.given.apply(transforms.tie_head, factor, part=ENDS)
    else:
        models.findings.flags.append(
            "the base's head is tied to its embedding, this one differs from it: "
            "the head was left as it is"
        )


def restore_means(models: ModelPair) -> None:
    """Give everything that writes to the stream the base's mean over channels."""
    for part in models.given.parts:
        given, wanted = models.first(part)
        names = transforms.writers(given)
        for name in names:
            shift = (wanted[name] - given[name]).mean(0)
            models.given.apply(transforms.shift_means, name, shift, part=part)
        if names:
            models.findings.add("means", len(names), len(names))


def _tables(weights: PlainWeights) -> Tensor:
    return torch.cat([weights[name] for name in (EMBEDDING, POSITIONS) if name in weights])


def _unscale(models: ModelPair, ours: float, theirs: float) -> float:
    """Give the embedding the base's norm again, if it is another by more than finetuning does.

    Takes the squares of both norms, gives the factor.
    """
    factor = math.sqrt(theirs) / max(math.sqrt(ours), 1e-300)
    moved = abs(factor - 1) > SCALED
    largest = max(factor, 1 / factor) if factor else 1.0
    models.findings.add("stream-scale", int(moved), 1, largest)
    if not moved or not factor:
        return 1.0
    models.given.apply(transforms.scale_stream, models.traits, factor)
    return factor


def _permute(models: ModelPair, order: Tensor, signs: Tensor) -> None:
    if models.traits.centered and signs.unique().numel() > 1:
        models.findings.flags.append(
            "some channels of the embedding have the other sign, which is no symmetry of this "
            "architecture"
        )
        signs = torch.ones_like(signs)
    moved = (order != torch.arange(order.numel())) | (signs < 0)
    models.findings.add("permutation", int(moved.sum()), order.numel())
    if moved.any():
        models.given.apply(transforms.permute_stream, order, signs)


def _rotate(models: ModelPair, rotation: Tensor) -> None:
    """Turn the stream of a model whose norms are folded, and give norms the base's weights."""
    models.given.apply(transforms.rotate_stream, rotation)
    for part in models.given.parts:
        gains = {n: t for n, t in models.wanted.first(part).items() if t.dim() == 1}
        models.given.apply(transforms.unfold_norms, models.traits, gains, part=part)


def _compensated(models: ModelPair, part: int, followers: list[str], change: Tensor) -> bool:
    """Whether columns of the followers were scaled against the norm, not the norm alone changed.

    Rows of the followers may still be permuted or mixed, so columns are compared by their norms.
    """
    logs = change.abs().log()
    if (change < 0).any() or logs.median().abs() > CLEAR:
        return True
    # Of the followers, the one that tells best counts: the others may be scaled or mixed too.
    before, after = [], []
    for name in followers:
        squares = torch.zeros(2, len(change), dtype=torch.float64)
        for pieces in models.pieces(part):
            squares += torch.stack([piece[f"{name}.weight"].square().sum(0) for piece in pieces])
        given, wanted = squares.sqrt().clamp_min(1e-300)
        ratio = (given / wanted).log()
        before.append(ratio.var().item())
        after.append((ratio - logs).var().item())
    return bool(min(after) < 0.5 * min(before))


def _turn_again(models: ModelPair) -> bool:
    """Turn the stream nearer to the base's; whether it was turned at all."""
    given, wanted = models.given.copy(), models.wanted.copy()
    models.release()
    for side in (given, wanted):
        side.apply(transforms.fold_norms, models.traits)
    folded = ModelPair(given, wanted, models.grain)
    # In few digits rows tell more than two tables, each with a rounding of its own.
    fit = _turn_to_tables(given) if models.traits.tied and models.grain < FEW else turn
    readers = [(part, n) for part in given.parts for n in transforms.readers(given.names(part))]
    pairs = _products(folded, readers) + _products(folded, _written(given), written=True)
    folded.release()
    rotation = nearest(pairs, fit, ROUNDING * models.grain)
    if _is_identity(rotation):
        return False
    models.given.apply(transforms.fold_norms, models.traits)
    _rotate(models, rotation)
    return True


def _turn_to_tables(given: BlockwiseWeights) -> ChannelFit:
    """The fit of a rotation to which embedding and head, of one origin, tell the channels."""
    above, rows = None, 0
    for piece in given.pieces(ENDS):
        rows += len(piece[EMBEDDING])
        above = triangle(torch.cat([piece[EMBEDDING], piece[HEAD]], 1), above)
    assert above is not None
    embedding, head = above.chunk(2, 1)
    return turn_to_axes(embedding, head, rows)


def _scale_again(models: ModelPair) -> bool:
    """Scale the stream nearer to the base's; whether it was scaled at all."""
    tables = [(ENDS, n) for n in (EMBEDDING, POSITIONS) if n in models.given.first(ENDS)]
    pairs = _products(models, tables)
    if not models.traits.norms_behind:
        pairs += _products(models, _written(models.given), written=True)
    factor = nearest(pairs, scale, ROUNDING * models.grain)[0, 0].item()
    if factor == 1 or factor <= 0:
        return False
    models.given.apply(transforms.scale_stream, models.traits, factor)
    return True


def _scale_norm_again(models: ModelPair, part: int, norm: str, followers: list[str]) -> bool:
    """Scale a norm against what follows nearer to the base's; whether it was scaled at all."""
    pairs = _products(models, [(part, f"{name}.weight") for name in followers])
    factors = nearest(pairs, stretch)
    if _is_identity(factors):
        return False
    gain = models.given.first(part)[f"{norm}.weight"] / factors.diag()
    models.given.apply(transforms.set_norm, norm, followers, gain, part=part)
    return True


def _written(weights: BlockwiseWeights) -> list[tuple[int, str]]:
    """Matrices that write to the stream."""
    return [
        (part, name)
        for part in weights.parts
        for name in transforms.writers(weights.names(part))
        if name.endswith("weight")
    ]


def _products(
    models: ModelPair, names: Sequence[tuple[int, str]], *, written: bool = False
) -> list[Products]:
    """Cross products over matrices, of rows or of what is written; not of more than fit in."""
    width = models.given.channels
    room = max(NUMBERS, BLOCKS * models.given.largest) // (6 * width**2)
    chosen = names[:: -(-len(names) // min(MOST, max(3, room)))]
    found: dict[tuple[int, str], Products] = {}
    for part in dict.fromkeys(part for part, _ in chosen):
        for given, wanted in models.pieces(part):
            for key in chosen:
                if key[0] != part:
                    continue
                ours, theirs = given[key[1]], wanted[key[1]]
                one = products(ours.T, theirs.T) if written else products(ours, theirs)
                found[key] = found[key] + one if key in found else one
    return list(found.values())


def _is_identity(matrix: Tensor) -> bool:
    return torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype))
