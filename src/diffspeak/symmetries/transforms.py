"""The symmetries themselves: each changes weights and leaves every output as it was.

A transform works on one part of a model in the plain layout of `architecture`: a block, or rows of
the tables with the last norm. It puts new tensors into the dict and changes none in place. What
moves the residual stream must be applied to all parts. Rotary pair p of a head are its numbers p
and p + head_dim / 2.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from diffspeak.symmetries.architecture import (
    DOWN,
    EMBEDDING,
    FINAL,
    GATE,
    HEAD,
    POSITIONS,
    TABLES,
    UP,
    K,
    O,
    PlainWeights,
    Q,
    Traits,
    V,
)


def readers(names: Collection[str]) -> list[str]:
    """Of a part's tensors the matrices whose columns are channels of the residual stream."""
    known = (*TABLES, *(f"{module}.weight" for module in (Q, K, V, GATE, UP)))
    return [name for name in names if name in known]


def writers(names: Collection[str]) -> list[str]:
    """Of a part's tensors the matrices and biases whose first axis is the stream's channels."""
    known = [f"{module}.{kind}" for module in (O, DOWN) for kind in ("weight", "bias")]
    return [name for name in names if name in known]


def norms_before(names: Collection[str], traits: Traits) -> dict[str, list[str]]:
    """Of a part's tensors each norm that linears follow at once, with those linears."""
    if f"{FINAL}.weight" not in names:
        return traits.norms
    return {FINAL: [HEAD.removesuffix(".weight")]} if HEAD in names else {}


def permute_stream(weights: PlainWeights, order: Tensor, signs: Tensor) -> None:
    """Channel j becomes what channel `order[j]` was, times `signs[j]`; both `[channel]`."""
    for name in readers(weights):
        weights[name] = weights[name][:, order] * signs
    for name in writers(weights):
        taken = weights[name][order]
        weights[name] = taken * (signs if taken.dim() == 1 else signs[:, None])
    for name in list(weights):
        if name.endswith(("layernorm.weight", "layernorm.bias")) or name.startswith(f"{FINAL}."):
            taken = weights[name][order]
            weights[name] = taken * signs if name.endswith("bias") else taken


def rotate_stream(weights: PlainWeights, rotation: Tensor) -> None:
    """The stream x becomes x @ rotation, `[channel, channel]`; every norm's weight must be even."""
    for name in readers(weights):
        weights[name] = weights[name] @ rotation
    for name in writers(weights):
        weights[name] = rotation.T @ weights[name]


def scale_stream(weights: PlainWeights, traits: Traits, scale: float) -> None:
    """Scale all channels: nearly the same but for the norms' epsilon."""
    behind = ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")
    last = [name for name in weights if name in behind] if traits.norms_behind else writers(weights)
    for name in [*last, EMBEDDING, POSITIONS]:
        if name in weights:
            weights[name] = weights[name] * scale
    if HEAD not in weights:
        for name in (f"{FINAL}.weight", f"{FINAL}.bias"):
            if name in weights:
                weights[name] = weights[name] / scale


def set_norm(weights: PlainWeights, norm: str, followers: list[str], gain: Tensor) -> None:
    """Give a norm another weight `[channel]` and divide the matrices that follow by the change."""
    change = gain / weights[f"{norm}.weight"]
    weights[f"{norm}.weight"] = gain
    if f"{norm}.bias" in weights:
        weights[f"{norm}.bias"] = weights[f"{norm}.bias"] * change
    for name in followers:
        weights[f"{name}.weight"] = weights[f"{name}.weight"] / change


def fold_norms(weights: PlainWeights, traits: Traits) -> None:
    """Multiply each norm's weight into the matrices that follow; a tied head is untied for it."""
    untie_head(weights)
    for norm, followers in norms_before(weights, traits).items():
        set_norm(weights, norm, followers, torch.ones_like(weights[f"{norm}.weight"]))


def unfold_norms(weights: PlainWeights, traits: Traits, gains: Mapping[str, Tensor]) -> None:
    """Give norms that were folded these weights, but for those that are next to zero."""
    for norm, followers in norms_before(weights, traits).items():
        gain = gains[f"{norm}.weight"]
        set_norm(weights, norm, followers, torch.where(gain.abs() < 1e-12, 1.0, gain))


def untie_head(weights: PlainWeights) -> None:
    """Give a model whose head is its embedding a head of its own."""
    if EMBEDDING in weights and HEAD not in weights:
        weights[HEAD] = weights[EMBEDDING]


def tie_head(weights: PlainWeights, factor: Tensor) -> None:
    """Drop a head that is the embedding times a factor `[channel]`; the last norm takes that."""
    set_norm(weights, FINAL, [], weights[f"{FINAL}.weight"] * factor)
    del weights[HEAD]


def shift_means(weights: PlainWeights, name: str, shift: Tensor) -> None:
    """Add `[in]` or one number to all channels that a matrix or a bias writes."""
    weights[name] = weights[name] + shift


def drop_means(weights: PlainWeights) -> None:
    """Take the mean over channels out of all that writes to the stream."""
    for name in writers(weights):
        shift_means(weights, name, -weights[name].mean(0))


def permute_groups(weights: PlainWeights, traits: Traits, order: Tensor) -> None:
    """Key-value head g becomes what `order[g]` was, its query heads with it; `[group]`."""
    each = traits.heads // traits.groups
    permute_heads(weights, traits, _places(order, each))
    for module in (K, V):
        _take(weights, module, _places(order, traits.head_dim))


def permute_heads(weights: PlainWeights, traits: Traits, order: Tensor) -> None:
    """Query head h becomes what `order[h]`, of the same key-value head, was; `[head]`."""
    places = _places(order, traits.head_dim)
    _take(weights, Q, places)
    weights[f"{O}.weight"] = weights[f"{O}.weight"][:, places]


def mix_values(weights: PlainWeights, matrices: Tensor) -> None:
    """Values times an invertible `[group, head_dim, head_dim]`, undone in the output's columns."""
    _mix(weights, V, matrices)
    against = torch.linalg.inv(matrices).mT
    weights[f"{O}.weight"] = mix_rows(weights[f"{O}.weight"].T, against).T


def mix_queries(weights: PlainWeights, matrices: Tensor) -> None:
    """Queries times an invertible `[group, head_dim, head_dim]`, keys against it."""
    _mix(weights, Q, matrices)
    _mix(weights, K, torch.linalg.inv(matrices).mT)


def mix_rows(rows: Tensor, matrices: Tensor) -> Tensor:
    """Rows `[head * n, in]` times `[group, n, n]`, which all heads of a group share."""
    split = rows.unflatten(0, (len(matrices), -1, matrices.shape[-1]))
    mixed: Tensor = (matrices[:, None] @ split).flatten(0, 2)
    return mixed


def turn_matrix(numbers: Tensor) -> Tensor:
    """The matrices `[..., head_dim, head_dim]` of a complex number for each rotary pair."""
    real, imaginary = torch.diag_embed(numbers.real), torch.diag_embed(numbers.imag)
    return torch.cat([torch.cat([real, -imaginary], -1), torch.cat([imaginary, real], -1)], -2)


def flip_numbers(weights: PlainWeights, which: str, signs: Tensor) -> None:
    """Signs `[head_dim]` of all query (which = "q") or key ("k") heads, against their norm."""
    module = Q if which == "q" else K
    _scale(weights, module, signs.repeat(len(weights[f"{module}.weight"]) // len(signs)))
    norm = f"self_attn.{which}_norm.weight"
    weights[norm] = weights[norm] * signs


def flip_pairs(weights: PlainWeights, traits: Traits, signs: Tensor) -> None:
    """Signs `[group, pair]` of rotary pairs, in a key-value head's queries and its keys."""
    both = torch.cat([signs, signs], 1)
    _scale(weights, Q, both.repeat_interleave(traits.heads // traits.groups, 0).flatten())
    _scale(weights, K, both.flatten())


def quarter_turns(weights: PlainWeights, traits: Traits, turned: Tensor) -> None:
    """Turn some pairs (`[pair]`, bool) of every query and key by a quarter, before their norms."""
    matrix = turn_matrix(torch.where(turned, 1j, 1.0 + 0j).to(torch.complex128))
    mix_queries(weights, matrix.repeat(traits.groups, 1, 1))
    for which in "qk":
        name = f"self_attn.{which}_norm.weight"
        weights[name] = matrix.abs() @ weights[name]


def scale_head_norms(weights: PlainWeights, scales: Tensor) -> None:
    """Scale pairs `[pair]` of the queries' norm against those of the keys'."""
    both = torch.cat([scales, scales])
    for which, factor in (("q", both), ("k", 1 / both)):
        name = f"self_attn.{which}_norm.weight"
        weights[name] = weights[name] * factor


def scale_heads(weights: PlainWeights, traits: Traits, scales: Tensor) -> None:
    """Scale query and key heads `[head + group]` before their norms: all but exact, for epsilon."""
    rows = scales.repeat_interleave(traits.head_dim)
    queries = traits.heads * traits.head_dim
    _scale(weights, Q, rows[:queries])
    _scale(weights, K, rows[queries:])


def permute_neurons(weights: PlainWeights, order: Tensor) -> None:
    """Neuron j becomes what `order[j]` was; `[neuron]`."""
    for module in (GATE, UP):
        _take(weights, module, order)
    weights[f"{DOWN}.weight"] = weights[f"{DOWN}.weight"][:, order]


def scale_neurons(weights: PlainWeights, scales: Tensor) -> None:
    """Scale each neuron's row of up, its column of down against it; `[neuron]`."""
    _scale(weights, UP, scales)
    weights[f"{DOWN}.weight"] = weights[f"{DOWN}.weight"] / scales


def _tensors(weights: PlainWeights, module: str) -> list[str]:
    return [name for name in (f"{module}.weight", f"{module}.bias") if name in weights]


def _take(weights: PlainWeights, module: str, rows: Tensor) -> None:
    for name in _tensors(weights, module):
        weights[name] = weights[name][rows]


def _scale(weights: PlainWeights, module: str, scales: Tensor) -> None:
    for name in _tensors(weights, module):
        tensor = weights[name]
        weights[name] = tensor * (scales if tensor.dim() == 1 else scales[:, None])


def _mix(weights: PlainWeights, module: str, matrices: Tensor) -> None:
    for name in _tensors(weights, module):
        tensor = weights[name]
        mixed = mix_rows(tensor.reshape(len(tensor), -1), matrices)
        weights[name] = mixed.reshape(tensor.shape)


def _places(order: Tensor, size: int) -> Tensor:
    """Rows of heads in this order, each of so many rows."""
    return (order[:, None] * size + torch.arange(size)).flatten()
