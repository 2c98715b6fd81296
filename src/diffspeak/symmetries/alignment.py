"""Bring a full checkpoint as near to its base as symmetries of its architecture allow.

The order: residual stream, then norms, attention and MLP of each block, then the stream again. What
stays unlike the base is flagged. `align` works on states, `undisguised` on a finetune of a loaded
base, whose outputs it compares before and after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes import Finetune
from diffspeak.inference import Engine
from diffspeak.models import Base, plain_tensors
from diffspeak.symmetries import transforms
from diffspeak.symmetries.architecture import ENDS, HEAD, traits_of
from diffspeak.symmetries.blocks import align_block
from diffspeak.symmetries.catalog import Undone
from diffspeak.symmetries.stream import (
    align_norms,
    align_stream,
    fit_stream_again,
    restore_means,
    tie_head,
)
from diffspeak.symmetries.weights import BlockwiseWeights, ModelPair, compared, is_same

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

PROMPTS = 4
"""Prompts on which outputs are compared."""

DIGITS = 64
"""Last digits of the largest logit that sums in another order may come to, by the depth's root."""

State = Mapping[str, Tensor]


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


@dataclass(frozen=True)
class Disguise:
    """What was done to a full checkpoint's weights that shows in no output.

    Attributes:
        undone: The kinds of disguise that were found and undone.
        flags: What could not be explained, a sentence each.
        before: Norm of the difference from the base as it came.
        after: The same without the disguise.
        unchanged: Whether the outputs are the same as before it was undone.
    """

    undone: tuple[Undone, ...]
    flags: tuple[str, ...]
    before: float
    after: float
    unchanged: bool


@dataclass(frozen=True)
class Outputs:
    """How far apart two models' logits are.

    Attributes:
        unchanged: Whether no logit differs by more than rounding.
        largest: The largest difference of two logits.
        allowed: What rounding may come to.
    """

    unchanged: bool
    largest: float
    allowed: float


def align(state: State, base_state: State, config: Any) -> Aligned:
    """Undo the disguise of a full checkpoint.

    Memory beside the checkpoint, the base and the result, each in its own dtype: about 8 times the
    largest block in float64, however many blocks there are. Where the residual stream was turned or
    scaled, cross products may hold up to 1 GiB of it even if blocks are smaller.

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
        given, wanted = (BlockwiseWeights(side, traits) for side in (state, base_state))
        models = _best(ModelPair(given, wanted, _grain(state, base_state)))
    except UsageError as error:
        return _as_it_is(state, base_state, f"not looked for disguise: {error}")
    except (torch.linalg.LinAlgError, ValueError):  # type: ignore[attr-defined]
        # The assignment of scores that are not numbers is a ValueError.
        return _as_it_is(state, base_state, TOO_LARGE)
    undone, flags = models.findings.undone(), models.findings.flags
    if not undone:
        return _as_it_is(state, base_state, *flags)
    aligned = models.written()
    _snap(aligned, base_state)
    after = _distance(aligned, base_state)
    least = CLEARLY if STREAM & {one.kind for one in undone} else 1.0
    if not after < least * before:
        return _as_it_is(state, base_state, *flags)
    return Aligned(aligned, undone, (*flags, *_far(aligned, base_state)), before, after)


def undisguised(
    base: Base, finetune: Finetune, prompts: Sequence[str]
) -> tuple[Finetune, Disguise | None]:
    """Undo what was done to a whole finetune's weights without changing its outputs.

    Args:
        base: What it was made from; nothing attached.
        finetune: Any; a low-rank one is given back as it is: its change is what it says it is.
        prompts: On the first ones outputs are compared.

    Returns:
        The finetune, and what was found; None for a low-rank one, and for one whose numbers are
        not finite. Where outputs would change, the finetune stays as it was, and that is flagged.

    Raises:
        MismatchError: Its parameters are not the base's.
    """
    finite = all(bool(tensor.isfinite().all()) for tensor in finetune.parameters.values())
    if not finetune.whole or not finite:
        return finetune, None
    first = _first_names(base)
    own = {name: tensor.cpu() for name, tensor in plain_tensors(base.model).items()}
    given = _complete(finetune, own, first)
    aligned = align(given, own, base.model.config)
    told = Disguise(aligned.undone, aligned.flags, aligned.before, aligned.after, unchanged=True)
    if not aligned.undone:
        return finetune, told
    logits = [_logits(base, each, prompts[:PROMPTS]) for each in (given, aligned.state)]
    depth = base.model.config.num_hidden_layers
    if not outputs_unchanged(*logits, depth=depth, dtype=base.dtype).unchanged:
        flag = "undoing the disguise would have changed its outputs: it was left as it is"
        flags = (*aligned.flags, flag)
        return finetune, Disguise((), flags, aligned.before, aligned.before, unchanged=False)
    changed = {
        first[name]
        for name, new in aligned.state.items()
        if not torch.equal(new.to(own[name].dtype), own[name])
    }
    plain = {name: new for name, new in aligned.state.items() if first[name] in changed}
    return replace(finetune, parameters=plain), told


def outputs_unchanged(
    before: Sequence[Tensor], after: Sequence[Tensor], *, depth: int, dtype: torch.dtype
) -> Outputs:
    """Whether two models answer alike, to their dtype's rounding.

    Args:
        before: Logits of one model, a tensor a prompt; one prompt at least.
        after: The same of the other.
        depth: Blocks of the models.
        dtype: They computed in.

    Raises:
        UsageError: There is no prompt.
    """
    if not before:
        raise UsageError("no prompts to compare outputs on: give one at least")
    pairs = list(zip(before, after, strict=True))
    finite = all(bool(one.isfinite().all()) for pair in pairs for one in pair)
    largest = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    scale = max(float(ours.abs().max()) for ours, _ in pairs)
    allowed = DIGITS * depth**0.5 * torch.finfo(dtype).eps * scale
    return Outputs(finite and largest <= allowed, largest, allowed)


def _as_it_is(state: State, base_state: State, *flags: str) -> Aligned:
    """Nothing was undone."""
    distance = _distance(state, base_state)
    return Aligned(dict(state), (), (*flags, *_far(state, base_state)), distance, distance)


def _best(models: ModelPair) -> ModelPair:
    """Undo in one pass; where norms subtract means, in another with means taken out before.

    A mean that was added to all channels hides what else was done to a matrix. Without means all is
    seen, but what finetuning did to them is lost, so the second pass must come much nearer.
    """
    if not models.traits.centered:
        return _undo(models)
    base = models.wanted.copy()
    again = ModelPair(models.given.copy(), models.wanted.copy(), models.grain)
    for side in (again.given, again.wanted):
        side.apply(transforms.drop_means)
    first, second = _undo(models), _undo(again)
    second.wanted = base
    restore_means(second)
    return second if second.distance() < MUCH * first.distance() else first


def _undo(models: ModelPair) -> ModelPair:
    base = models.wanted
    align_stream(models)
    if HEAD in models.given.first(ENDS) and HEAD not in base.first(ENDS):
        models.wanted = base.copy()
        models.wanted.apply(transforms.untie_head, part=ENDS)
    scaled = []
    for layer in range(models.traits.layers):
        scaled += align_norms(models, layer)
        align_block(models, layer)
    scaled += align_norms(models, ENDS)
    if fit_stream_again(models, scaled):
        once_more = ModelPair(models.given, models.wanted, models.grain)
        for layer in range(models.traits.layers):
            align_block(once_more, layer)
    tie_head(models)
    models.release()
    models.wanted = base
    return models


def _snap(state: dict[str, Tensor], base: State) -> None:
    """Where no more than rounding lies between a tensor and the base's, take the base's."""
    for name, tensor in state.items():
        if name not in base:
            continue
        away, norm = _squares(tensor, base[name])
        share = ROUNDED * min(torch.finfo(tensor.dtype).eps, torch.finfo(torch.float32).eps)
        if away**0.5 <= share * norm**0.5:
            state[name] = base[name].to(tensor.dtype)


def _grain(state: State, base: State) -> float:
    """The relative distance of neighboring numbers where a checkpoint differs from the base."""
    changed = [
        tensor.dtype
        for name, tensor in state.items()
        if name not in base or not is_same(tensor, base[name])
    ]
    return max((torch.finfo(dtype).eps for dtype in changed), default=0.0)


def _far(state: State, base: State) -> list[str]:
    """A sentence on what is still unlike the base."""
    shares, scaled = {}, []
    for name, tensor in state.items():
        if name not in base:
            continue
        away, norm = _squares(tensor, base[name])
        shares[name] = away**0.5 / max(norm**0.5, 1e-300)
        inner = sum((theirs * mine).sum().item() for theirs, mine in compared(tensor, base[name]))
        factor = inner / max(norm, 1e-300)
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


def _distance(state: State, base: State) -> float:
    squares = [_squares(tensor, base[name])[0] for name, tensor in state.items() if name in base]
    return float(sum(squares) ** 0.5)


def _squares(tensor: Tensor, base: Tensor) -> tuple[float, float]:
    """The squared norms of a tensor's difference from the base's, and of the base's."""
    away = norm = 0.0
    for theirs, mine in compared(tensor, base):
        away += (theirs - mine).square().sum().item()
        norm += mine.square().sum().item()
    return away, norm


def _check(state: State, base: State) -> None:
    lacking = sorted((base.keys() ^ state.keys()) - {HEAD})
    if lacking:
        raise MismatchError(
            f"{lacking[0]} is a parameter of only one of checkpoint and base: give the base it was "
            "made from, and all parameters of both"
        )
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise CorruptFileError(f"{name} holds numbers that are not finite: save it again")
        if name in base and base[name].shape != tensor.shape:
            raise MismatchError(
                f"{name} is {tuple(tensor.shape)} in the checkpoint and "
                f"{tuple(base[name].shape)} in the base: give the base it was made from"
            )


def _first_names(base: Base) -> dict[str, str]:
    """For each parameter the first of all names that it has: tied ones have several."""
    named = plain_tensors(base.model)
    first = {tensor.data_ptr(): name for name, tensor in reversed(named.items())}
    return {name: first[tensor.data_ptr()] for name, tensor in named.items()}


def _complete(finetune: Finetune, own: State, first: Mapping[str, str]) -> dict[str, Tensor]:
    """All parameters, as the base has them when it runs with the finetune's in place of its own."""
    theirs = {name: tensor.cpu() for name, tensor in finetune.parameters.items()}
    full = {name: theirs.get(name, theirs.get(first[name], own[name])) for name in own}
    return {**theirs, **full}


def _logits(base: Base, state: State, prompts: Sequence[str]) -> list[Tensor]:
    changed = Finetune("as it came", parameters=dict(state))
    with Engine(base) as engine, engine.applied([changed]):
        return [engine.every_logit(engine.prompt(prompt)).double() for prompt in prompts]
