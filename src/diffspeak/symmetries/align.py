"""Bring a full checkpoint as near to its base as symmetries of its architecture allow.

Takes a checkpoint's parameters and the base's, gives parameters that compute the same, and what was
undone. The order: residual stream, its norms, then attention and MLP of each block. What stays
unlike the base is flagged. Knows nothing of files and models.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.symmetries.architecture import Traits, traits_of
from diffspeak.symmetries.attention import align_attention
from diffspeak.symmetries.found import Ledger, Undone
from diffspeak.symmetries.layout import (
    EMBEDDING,
    HEAD,
    Weights,
    dtypes_of,
    norms,
    read,
    write,
)
from diffspeak.symmetries.means import with_means_of, without_means
from diffspeak.symmetries.mlp import align_mlp
from diffspeak.symmetries.polish import norms_again, scale_again, turn_again
from diffspeak.symmetries.rounding import drop_rounding
from diffspeak.symmetries.stream import align_norms, align_stream, tie_head

MUCH = 0.7
"""The second pass counts if it leaves less than this of the first one's difference."""

SCALED = 0.05
"""A matrix of a block that is scaled by more than this is flagged: finetuning stays below it."""

FAR = 0.5
"""Share of a base tensor's norm above which a difference is flagged: finetuning stays below it."""

ROUNDED = 8
"""A tensor no further from the base's than so many grains of float32 or finer is the base's."""

CLEARLY = 0.9
"""A change of the whole stream counts if it leaves less than this of the difference: it has so many
parameters that any difference shrinks a little by it."""

STREAM = {"rotation", "stream-scale"}

TOO_LARGE = "not looked for disguise: its numbers are too large or too small to be fitted"


@dataclass(frozen=True)
class Aligned:
    """A checkpoint, as near to its base as was found.

    Attributes:
        state: Its parameters, by their names and in their dtypes; they compute what they did.
        undone: The kinds of disguise that were found and undone.
        flags: What could not be explained, a sentence each; empty if nothing is suspicious.
        before: Norm of the difference from the base as it came, over all parameters.
        after: The same now.
    """

    state: dict[str, Tensor]
    undone: tuple[Undone, ...]
    flags: tuple[str, ...]
    before: float
    after: float


def align(state: Mapping[str, Tensor], base_state: Mapping[str, Tensor], config: Any) -> Aligned:
    """Undo the disguise of a full checkpoint.

    Args:
        state: All parameters of the checkpoint, by the base's names.
        base_state: All parameters of the base; a tied head may be left out of either.
        config: The base's.

    Raises:
        MismatchError: A parameter has another shape than the base's, or is not there.
        CorruptFileError: A parameter holds numbers that are not finite.
    """
    _check(state, base_state)
    before = _distance(state, base_state)
    try:
        traits = traits_of(config)
        weights, base = read(state, traits), read(base_state, traits)
        weights, ledger = _best(weights, base, traits, _grain(state, base_state))
    except UsageError as error:
        return _as_it_is(state, base_state, f"not looked for disguise: {error}")
    except (torch.linalg.LinAlgError, ValueError):  # type: ignore[attr-defined]
        # The assignment of scores that are not numbers is a ValueError.
        return _as_it_is(state, base_state, TOO_LARGE)
    undone = ledger.undone()
    if not undone:
        return _as_it_is(state, base_state, *ledger.flags)
    drop_rounding(weights, base, dtypes_of(state, traits))
    aligned = write(weights, state, traits)
    _snap(aligned, base_state)
    after = _distance(aligned, base_state)
    least = CLEARLY if STREAM & {one.kind for one in undone} else 1.0
    if not after < least * before:
        return _as_it_is(state, base_state, *ledger.flags)
    flags = (*ledger.flags, *_far(aligned, base_state))
    return Aligned(aligned, undone, flags, before, after)


def _as_it_is(
    state: Mapping[str, Tensor], base_state: Mapping[str, Tensor], *flags: str
) -> Aligned:
    """Nothing was undone."""
    distance = _distance(state, base_state)
    return Aligned(dict(state), (), (*flags, *_far(state, base_state)), distance, distance)


def _best(weights: Weights, base: Weights, traits: Traits, grain: float) -> tuple[Weights, Ledger]:
    """Undo in one pass; where norms subtract means, in another with means taken out before.

    A mean that was added to all channels hides what else was done to a matrix. Without means all is
    seen, but what finetuning did to them is lost, so the second pass must come much nearer.
    """
    ledger = Ledger()
    if not traits.centered:
        _undo(weights, base, traits, ledger, grain)
        return weights, ledger
    again, plain, second = without_means(weights), without_means(base), Ledger()
    _undo(weights, base, traits, ledger, grain)
    _undo(again, plain, traits, second, grain)
    with_means_of(again, base, second)
    nearer = _distance(again, base) < MUCH * _distance(weights, base)
    return (again, second) if nearer else (weights, ledger)


def _undo(weights: Weights, base: Weights, traits: Traits, ledger: Ledger, grain: float) -> None:
    align_stream(weights, base, traits, ledger)
    head, embedding = f"{HEAD}.weight", f"{EMBEDDING}.weight"
    if head in weights and head not in base:
        base = base | {head: base[embedding]}
    scaled = align_norms(weights, base, traits, ledger)
    _undo_blocks(weights, base, traits, ledger, grain)
    if _polish(weights, base, traits, ledger, scaled, grain):
        _undo_blocks(weights, base, traits, Ledger(), grain)
    tie_head(weights, base, traits, ledger, grain)


def _undo_blocks(
    weights: Weights, base: Weights, traits: Traits, ledger: Ledger, grain: float
) -> None:
    for layer in range(traits.layers):
        align_attention(weights, base, traits, layer, ledger, grain)
        align_mlp(weights, base, traits, layer, ledger, grain)


def _polish(
    weights: Weights,
    base: Weights,
    traits: Traits,
    ledger: Ledger,
    scaled: Collection[str],
    grain: float,
) -> bool:
    """Fit what was done to the stream again, now to all matrices; whether that moved anything."""
    found = {undone.kind for undone in ledger.undone()}
    changed = False
    if "rotation" in found:
        changed = turn_again(weights, base, traits, grain)
        scaled = [norm for norm, _ in norms(weights, traits)]
    if "stream-scale" in found:
        changed = scale_again(weights, base, traits, grain) or changed
    return norms_again(weights, base, traits, scaled) or changed


def _snap(state: dict[str, Tensor], base: Mapping[str, Tensor]) -> None:
    """Where no more than rounding lies between a tensor and the base's, take the base's."""
    for name, tensor in state.items():
        mine = base.get(name)
        if mine is None:
            continue
        wanted = mine.double()
        share = ROUNDED * min(torch.finfo(tensor.dtype).eps, torch.finfo(torch.float32).eps)
        if (tensor.double() - wanted).norm() <= share * wanted.norm():
            state[name] = mine.to(tensor.dtype)


def _grain(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> float:
    """The relative distance of neighboring numbers where a checkpoint differs from the base."""
    changed = [
        tensor.dtype
        for name, tensor in state.items()
        if name not in base or not torch.equal(tensor.double(), base[name].double())
    ]
    return max((torch.finfo(dtype).eps for dtype in changed), default=0.0)


def _far(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> list[str]:
    """A sentence on what is still unlike the base."""
    shares, scaled = {}, []
    for name, tensor in state.items():
        if name not in base:
            continue
        theirs, mine = tensor.double(), base[name].double()
        shares[name] = ((theirs - mine).norm() / mine.norm().clamp_min(1e-300)).item()
        factor = ((theirs * mine).sum() / mine.square().sum().clamp_min(1e-300)).item()
        if tensor.dim() == 2 and abs(factor - 1) > SCALED:
            scaled.append(f"{name} by {factor:.2f}")
    far = [name for name, share in shares.items() if share > FAR]
    if far:
        worst = max(far, key=shares.__getitem__)
        return [
            f"{len(far)} of {len(shares)} parameters are still unlike the base's, {worst} the most:"
            f" {shares[worst]:.0%} of its norm; no symmetry known here explains it"
        ]
    if not scaled:
        return []
    others = f" and {len(scaled) - 1} more" if len(scaled) > 1 else ""
    return [
        f"scaled against the base's, which no symmetry known here explains: {scaled[0]}{others}"
    ]


def _distance(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> float:
    squares = [
        (tensor.double() - base[name].double()).square().sum().item()
        for name, tensor in state.items()
        if name in base
    ]
    return float(sum(squares) ** 0.5)


def _check(state: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> None:
    optional = {"lm_head.weight"}
    lacking = sorted((base.keys() ^ state.keys()) - optional)
    if lacking:
        raise MismatchError(
            f"{lacking[0]} is a parameter of only one of checkpoint and base: give the base it was "
            "made from, and all parameters of both"
        )
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise CorruptFileError(f"{name} holds numbers that are not finite: save it again")
    for name in base.keys() & state.keys():
        if base[name].shape != state[name].shape:
            raise MismatchError(
                f"{name} is {tuple(state[name].shape)} in the checkpoint and "
                f"{tuple(base[name].shape)} in the base: give the base it was made from"
            )
