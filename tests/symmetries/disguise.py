"""Disguise a model: change its weights at random so that no output changes.

Takes a state and draws from a generator; gives another state. For tests and measurements of
`align`. Knows nothing of a base.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from diffspeak.errors import UsageError
from diffspeak.symmetries import Traits, kinds_of, symmetries_of, traits_of, transforms
from diffspeak.symmetries.architecture import ENDS, HEAD, UP
from diffspeak.symmetries.catalog import EXACT
from diffspeak.symmetries.weights import BlockwiseWeights

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
    weights = BlockwiseWeights(state, traits)
    kinds = [kind]
    if kind == ALL:
        tied = traits.tied and HEAD not in weights.names(ENDS)
        kinds = [
            each
            for each in _MAKERS
            if found[each].applies
            and found[each].exactness == EXACT
            and not (tied and each == "rotation")
        ]
    for each in kinds:
        _MAKERS[each](weights, traits, generator)
    return weights.collect(
        (part, piece) for part in weights.parts for piece in weights.pieces(part)
    )


def _permutation(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    width = weights.channels
    signs = _signs(1 if traits.centered else width, generator).expand(width)
    weights.apply(transforms.permute_stream, torch.randperm(width, generator=generator), signs)


def _stream_scale(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    weights.apply(transforms.scale_stream, traits, _scales(1, generator).item())


def _rotation(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    weights.apply(transforms.fold_norms, traits)
    width = weights.channels
    weights.apply(transforms.rotate_stream, torch.linalg.qr(_normal(generator, width, width)).Q)


def _norms(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for part in weights.parts:
        for norm, followers in transforms.norms_before(weights.names(part), traits).items():
            gain = weights.first(part)[f"{norm}.weight"]
            scales = _scales(gain.numel(), generator) * _signs(gain.numel(), generator)
            weights.apply(transforms.set_norm, norm, followers, gain * scales, part=part)


def _means(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for part in weights.parts:
        for name in transforms.writers(weights.names(part)):
            tensor = weights.first(part)[name]
            shift = tensor.std() * _normal(generator, *tensor.shape[1:])
            weights.apply(transforms.shift_means, name, shift, part=part)


def _groups(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        order = torch.randperm(traits.groups, generator=generator)
        weights.apply(transforms.permute_groups, traits, order, part=layer)


def _heads(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    each = traits.heads // traits.groups
    for layer in range(traits.layers):
        parts = [
            group * each + torch.randperm(each, generator=generator)
            for group in range(traits.groups)
        ]
        weights.apply(transforms.permute_heads, traits, torch.cat(parts), part=layer)


def _values(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        matrices = [_invertible(traits, generator) for _ in range(traits.groups)]
        weights.apply(transforms.mix_values, torch.stack(matrices), part=layer)


def _queries(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        matrices = [_invertible(traits, generator) for _ in range(traits.groups)]
        weights.apply(transforms.mix_queries, torch.stack(matrices), part=layer)


def _pairs(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    size = traits.head_dim // 2
    for layer in range(traits.layers):
        numbers = []
        for _ in range(traits.groups):
            angles = 2 * torch.pi * torch.rand(size, generator=generator, dtype=torch.float64)
            numbers.append(torch.polar(_scales(size, generator), angles))
        matrices = transforms.turn_matrix(torch.stack(numbers))
        weights.apply(transforms.mix_queries, matrices, part=layer)


def _head_norms(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    size = traits.head_dim
    for layer in range(traits.layers):
        turned = _signs(size // 2, generator) < 0
        weights.apply(transforms.quarter_turns, traits, turned, part=layer)
        for which in "qk":
            signs = _signs(size, generator)
            weights.apply(transforms.flip_numbers, which, signs, part=layer)
        signs = torch.stack([_signs(size // 2, generator) for _ in range(traits.groups)])
        weights.apply(transforms.flip_pairs, traits, signs, part=layer)
        scales = _scales(size // 2, generator)
        weights.apply(transforms.scale_head_norms, scales, part=layer)


def _head_scales(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        scales = [_scales(count, generator) for count in (traits.heads, traits.groups)]
        weights.apply(transforms.scale_heads, traits, torch.cat(scales), part=layer)


def _neurons(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        count = len(weights.first(layer)[f"{UP}.weight"])
        order = torch.randperm(count, generator=generator)
        weights.apply(transforms.permute_neurons, order, part=layer)


def _neuron_scales(weights: BlockwiseWeights, traits: Traits, generator: Generator) -> None:
    for layer in range(traits.layers):
        count = len(weights.first(layer)[f"{UP}.weight"])
        scales = _scales(count, generator)
        if traits.gated:
            scales = scales * _signs(count, generator)
        weights.apply(transforms.scale_neurons, scales, part=layer)


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


_Maker = Callable[[BlockwiseWeights, Traits, Generator], None]

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
