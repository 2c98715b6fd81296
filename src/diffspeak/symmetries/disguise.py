"""Disguise a model: change its weights at random so that no output changes.

Takes a state and draws from a generator; gives another state. For tests and measurements of
`align`. Knows nothing of a base.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from diffspeak.errors import UsageError
from diffspeak.symmetries import transforms as moves
from diffspeak.symmetries.architecture import Traits, traits_of
from diffspeak.symmetries.catalog import EXACT, kinds_of, symmetries_of
from diffspeak.symmetries.layout import Weights, block, norms, read, write

ALL = "all"
SPREAD = 0.5
"""Standard deviation of a random scale's logarithm."""


def disguise(
    state: Mapping[str, Tensor], config: Any, kind: str, generator: Generator
) -> dict[str, Tensor]:
    """Change weights by one kind of symmetry, or by all that are exact and leave the head tied.

    Args:
        state: All parameters of a model, by its names.
        config: Its config.
        kind: One of `kinds_of(config)`, or "all".
        generator: Where random numbers come from.

    Returns:
        The disguised state, in the dtypes of the given one. A rotation unties a tied head: load it
        with `tie_word_embeddings=False`.

    Raises:
        UsageError: The architecture has no such symmetry, or is not known here.
    """
    traits = traits_of(config)
    found = {symmetry.kind: symmetry for symmetry in symmetries_of(config)}
    if kind != ALL and kind not in kinds_of(config):
        reason = found[kind].why_not if kind in found else "it is not known"
        raise UsageError(f"{traits.family} has no symmetry {kind!r}: {reason}")
    weights = read(state, traits)
    kinds = [kind]
    if kind == ALL:
        tied = traits.tied and "lm_head.weight" not in weights
        kinds = [
            each
            for each in _MAKERS
            if found[each].applies
            and found[each].exactness == EXACT
            and not (tied and each == "rotation")
        ]
    for each in kinds:
        _MAKERS[each](weights, traits, generator)
    return write(weights, state, traits)


def _permutation(weights: Weights, traits: Traits, generator: Generator) -> None:
    width = weights["norm.weight"].numel()
    signs = _signs(1 if traits.centered else width, generator).expand(width)
    moves.permute_stream(weights, torch.randperm(width, generator=generator), signs)


def _stream_scale(weights: Weights, traits: Traits, generator: Generator) -> None:
    moves.scale_stream(weights, traits, _scales(1, generator).item())


def _rotation(weights: Weights, traits: Traits, generator: Generator) -> None:
    moves.fold_norms(weights, traits)
    width = weights["norm.weight"].numel()
    moves.rotate_stream(weights, torch.linalg.qr(_normal(generator, width, width)).Q)


def _norms(weights: Weights, traits: Traits, generator: Generator) -> None:
    for norm, followers in list(norms(weights, traits)):
        gain = weights[f"{norm}.weight"]
        scales = _scales(gain.numel(), generator) * _signs(gain.numel(), generator)
        moves.set_norm(weights, norm, followers, gain * scales)


def _means(weights: Weights, traits: Traits, generator: Generator) -> None:
    for name in moves.writers(weights):
        tensor = weights[name]
        moves.shift_means(weights, name, tensor.std() * _normal(generator, *tensor.shape[1:]))


def _groups(weights: Weights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        order = torch.randperm(traits.groups, generator=generator)
        moves.permute_groups(weights, traits, layer, order)


def _heads(weights: Weights, traits: Traits, generator: Generator) -> None:
    each = traits.heads // traits.groups
    for layer in range(traits.layers):
        parts = [
            group * each + torch.randperm(each, generator=generator)
            for group in range(traits.groups)
        ]
        moves.permute_heads(weights, traits, layer, torch.cat(parts))


def _values(weights: Weights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        for group in range(traits.groups):
            moves.mix_values(weights, traits, layer, group, _invertible(traits, generator))


def _queries(weights: Weights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        for group in range(traits.groups):
            moves.mix_queries(weights, traits, layer, group, _invertible(traits, generator))


def _pairs(weights: Weights, traits: Traits, generator: Generator) -> None:
    size = traits.head_dim // 2
    for layer in range(traits.layers):
        for group in range(traits.groups):
            angles = 2 * torch.pi * torch.rand(size, generator=generator, dtype=torch.float64)
            numbers = torch.polar(_scales(size, generator), angles)
            moves.mix_queries(weights, traits, layer, group, moves.turn_matrix(numbers))


def _head_norms(weights: Weights, traits: Traits, generator: Generator) -> None:
    size = traits.head_dim
    for layer in range(traits.layers):
        turned = _signs(size // 2, generator) < 0
        moves.quarter_turns(weights, traits, layer, turned)
        for which in "qk":
            moves.flip_numbers(weights, traits, layer, which, _signs(size, generator))
        for group in range(traits.groups):
            moves.flip_pairs(weights, traits, layer, group, _signs(size // 2, generator))
        moves.scale_head_norms(weights, layer, _scales(size // 2, generator))


def _head_scales(weights: Weights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        for which, count in (("q", traits.heads), ("k", traits.groups)):
            for head, scale in enumerate(_scales(count, generator).tolist()):
                moves.scale_head(weights, traits, layer, which, head, scale)


def _neurons(weights: Weights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        count = weights[f"{block(layer)}mlp.up_proj.weight"].shape[0]
        moves.permute_neurons(weights, layer, torch.randperm(count, generator=generator))


def _neuron_scales(weights: Weights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        count = weights[f"{block(layer)}mlp.up_proj.weight"].shape[0]
        scales = _scales(count, generator)
        if traits.gated:
            scales = scales * _signs(count, generator)
        moves.scale_neurons(weights, layer, scales)


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _scales(count: int, generator: Generator) -> Tensor:
    return torch.exp(SPREAD * _normal(generator, count))


def _signs(count: int, generator: Generator) -> Tensor:
    return 2.0 * torch.randint(2, (count,), generator=generator).double() - 1


def _invertible(traits: Traits, generator: Generator) -> Tensor:
    """A random matrix whose condition is moderate: more would drown weights in rounding."""
    size = traits.head_dim
    left = torch.linalg.qr(_normal(generator, size, size)).Q
    right = torch.linalg.qr(_normal(generator, size, size)).Q
    matrix: Tensor = (left * _scales(size, generator)) @ right
    return matrix


_Maker = Callable[[Weights, Traits, Generator], None]

_MAKERS: dict[str, _Maker] = {
    "neurons": _neurons,
    "neuron-scales": _neuron_scales,
    "head-norms": _head_norms,
    "head-scales": _head_scales,
    "pairs": _pairs,
    "queries": _queries,
    "values": _values,
    "heads": _heads,
    "groups": _groups,
    "means": _means,
    "norms": _norms,
    "stream-scale": _stream_scale,
    "permutation": _permutation,
    "rotation": _rotation,
}
"""In the order in which all are put on."""
