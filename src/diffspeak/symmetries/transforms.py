"""The symmetries themselves: each changes weights in place and leaves every output as it was.

Takes weights in the plain layout of `layout`, with the numbers of one move. A disguise is made of
these moves, and undone by them. Knows nothing of a base. Notation: heads `[head, head_dim, in]`;
rotary pair p of a head are its numbers p and p + head_dim / 2.
"""

import torch
from torch import Tensor

from diffspeak.symmetries.architecture import Traits
from diffspeak.symmetries.layout import (
    EMBEDDING,
    FINAL,
    HEAD,
    POSITIONS,
    Weights,
    block,
    norms,
)


def readers(weights: Weights) -> list[str]:
    """Names of matrices whose columns are channels of the residual stream."""
    ends = ("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight")
    tables = (f"{EMBEDDING}.weight", f"{POSITIONS}.weight", f"{HEAD}.weight")
    return [name for name in weights if name.endswith(ends) or name in tables]


def writers(weights: Weights) -> list[str]:
    """Names of matrices and biases whose first axis is the residual stream's channels."""
    ends = ("o_proj.weight", "down_proj.weight", "o_proj.bias", "down_proj.bias")
    return [name for name in weights if name.endswith(ends)]


def channel_norms(weights: Weights) -> list[str]:
    """Names of norms over the residual stream, without `.weight`."""
    return [
        name.removesuffix(".weight")
        for name in weights
        if name.endswith("layernorm.weight") or name == f"{FINAL}.weight"
    ]


def permute_stream(weights: Weights, order: Tensor, signs: Tensor) -> None:
    """Channel j becomes what channel `order[j]` was, times `signs[j]`; both `[channel]`."""
    for name in readers(weights):
        weights[name] = weights[name][:, order] * signs
    for name in writers(weights):
        taken = weights[name][order]
        weights[name] = taken * (signs if taken.dim() == 1 else signs[:, None])
    for norm in channel_norms(weights):
        weights[f"{norm}.weight"] = weights[f"{norm}.weight"][order]
        if f"{norm}.bias" in weights:
            weights[f"{norm}.bias"] = weights[f"{norm}.bias"][order] * signs


def rotate_stream(weights: Weights, rotation: Tensor) -> None:
    """The stream x becomes x @ rotation, `[channel, channel]`; every norm's weight must be even."""
    for name in readers(weights):
        weights[name] = weights[name] @ rotation
    for name in writers(weights):
        weights[name] = rotation.T @ weights[name]


def scale_stream(weights: Weights, traits: Traits, scale: float) -> None:
    """Scale all channels: nearly the same but for the norms' epsilon."""
    ends = ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")
    behind = [name for name in weights if name.endswith(ends)]
    tables = [n for n in (f"{EMBEDDING}.weight", f"{POSITIONS}.weight") if n in weights]
    for name in [*tables, *(behind if traits.norms_behind else writers(weights))]:
        weights[name] = weights[name] * scale
    if f"{HEAD}.weight" not in weights:
        for name in (f"{FINAL}.weight", f"{FINAL}.bias"):
            if name in weights:
                weights[name] = weights[name] / scale


def set_norm(weights: Weights, norm: str, followers: list[str], gain: Tensor) -> None:
    """Give a norm another weight `[channel]` and divide the matrices that follow by the change."""
    change = gain / weights[f"{norm}.weight"]
    weights[f"{norm}.weight"] = gain
    if f"{norm}.bias" in weights:
        weights[f"{norm}.bias"] = weights[f"{norm}.bias"] * change
    for name in followers:
        weights[f"{name}.weight"] = weights[f"{name}.weight"] / change


def fold_norms(weights: Weights, traits: Traits) -> None:
    """Multiply each norm's weight into the matrices that follow; a tied head is untied for it."""
    if f"{HEAD}.weight" not in weights:
        weights[f"{HEAD}.weight"] = weights[f"{EMBEDDING}.weight"].clone()
    for norm, followers in norms(weights, traits):
        set_norm(weights, norm, followers, torch.ones_like(weights[f"{norm}.weight"]))


def unfold_norms(weights: Weights, like: Weights, traits: Traits) -> None:
    """Give norms that were folded the weights of others, but for those that are next to zero."""
    for norm, followers in norms(weights, traits):
        gain = like[f"{norm}.weight"]
        set_norm(weights, norm, followers, torch.where(gain.abs() < 1e-12, 1.0, gain))


def shift_means(weights: Weights, name: str, shift: Tensor) -> None:
    """Add `[in]` or one number to all channels that a matrix or a bias writes."""
    weights[name] = weights[name] + shift


def permute_groups(weights: Weights, traits: Traits, layer: int, order: Tensor) -> None:
    """Key-value head g becomes what `order[g]` was, its query heads with it; `[group]`."""
    each = traits.heads // traits.groups
    heads = (order[:, None] * each + torch.arange(each)).flatten()
    _take_heads(weights, traits, layer, heads)
    for kind in ("k_proj", "v_proj"):
        _take(weights, f"{block(layer)}self_attn.{kind}", order, traits.head_dim)


def permute_heads(weights: Weights, traits: Traits, layer: int, order: Tensor) -> None:
    """Query head h becomes what `order[h]`, of the same key-value head, was; `[head]`."""
    _take_heads(weights, traits, layer, order)


def mix_values(weights: Weights, traits: Traits, layer: int, group: int, matrix: Tensor) -> None:
    """Values of a key-value head times an invertible matrix, undone in the output's columns."""
    start = f"{block(layer)}self_attn."
    _rows(weights, start + "v_proj", group, traits.head_dim, matrix)
    output = weights[start + "o_proj.weight"]
    for columns in _group_rows(traits, group):
        output[:, columns] = torch.linalg.solve(matrix, output[:, columns], left=False)


def mix_queries(weights: Weights, traits: Traits, layer: int, group: int, matrix: Tensor) -> None:
    """Queries of a key-value head times an invertible `[head_dim, head_dim]`, keys against it."""
    start = f"{block(layer)}self_attn."
    each = traits.heads // traits.groups
    for head in range(group * each, (group + 1) * each):
        _rows(weights, start + "q_proj", head, traits.head_dim, matrix)
    against = torch.linalg.inv(matrix).T
    _rows(weights, start + "k_proj", group, traits.head_dim, against)


def turn_matrix(numbers: Tensor) -> Tensor:
    """The matrix `[head_dim, head_dim]` of one complex number for each rotary pair."""
    real, imaginary = torch.diag(numbers.real), torch.diag(numbers.imag)
    return torch.cat([torch.cat([real, -imaginary], 1), torch.cat([imaginary, real], 1)])


def flip_numbers(weights: Weights, traits: Traits, layer: int, which: str, signs: Tensor) -> None:
    """Signs `[head_dim]` of all query (which = "q") or key ("k") heads, against their norm."""
    start = f"{block(layer)}self_attn."
    for head in range(traits.heads if which == "q" else traits.groups):
        _rows(weights, f"{start}{which}_proj", head, traits.head_dim, torch.diag(signs))
    weights[f"{start}{which}_norm.weight"] = weights[f"{start}{which}_norm.weight"] * signs


def flip_pairs(weights: Weights, traits: Traits, layer: int, group: int, signs: Tensor) -> None:
    """Signs `[pair]` of a key-value head's rotary pairs, in its queries and its keys."""
    mix_queries(weights, traits, layer, group, torch.diag(torch.cat([signs, signs])))


def quarter_turns(weights: Weights, traits: Traits, layer: int, turned: Tensor) -> None:
    """Turn some pairs (`[pair]`, bool) of every query and key by a quarter, before their norms."""
    angles = torch.where(turned, 1j, 1.0 + 0j).to(torch.complex128)
    matrix = turn_matrix(angles)
    for group in range(traits.groups):
        mix_queries(weights, traits, layer, group, matrix)
    for which in ("q_norm", "k_norm"):
        name = f"{block(layer)}self_attn.{which}.weight"
        weights[name] = matrix.abs() @ weights[name]


def scale_head_norms(weights: Weights, layer: int, scales: Tensor) -> None:
    """Scale pairs `[pair]` of the queries' norm against those of the keys'."""
    both = torch.cat([scales, scales])
    start = f"{block(layer)}self_attn."
    weights[start + "q_norm.weight"] = weights[start + "q_norm.weight"] * both
    weights[start + "k_norm.weight"] = weights[start + "k_norm.weight"] / both


def scale_head(
    weights: Weights, traits: Traits, layer: int, which: str, head: int, scale: float
) -> None:
    """Scale one query ("q") or key ("k") head before its norm: nearly the same but for epsilon."""
    name = f"{block(layer)}self_attn.{which}_proj"
    _rows(weights, name, head, traits.head_dim, scale * torch.eye(traits.head_dim).double())


def permute_neurons(weights: Weights, layer: int, order: Tensor) -> None:
    """Neuron j becomes what `order[j]` was; `[neuron]`."""
    start = f"{block(layer)}mlp."
    for kind in ("gate_proj", "up_proj"):
        for part in ("weight", "bias"):
            if f"{start}{kind}.{part}" in weights:
                weights[f"{start}{kind}.{part}"] = weights[f"{start}{kind}.{part}"][order]
    weights[start + "down_proj.weight"] = weights[start + "down_proj.weight"][:, order]


def scale_neurons(weights: Weights, layer: int, scales: Tensor) -> None:
    """Scale each neuron's row of up, its column of down against it; `[neuron]`."""
    start = f"{block(layer)}mlp."
    weights[start + "up_proj.weight"] = weights[start + "up_proj.weight"] * scales[:, None]
    if start + "up_proj.bias" in weights:
        weights[start + "up_proj.bias"] = weights[start + "up_proj.bias"] * scales
    weights[start + "down_proj.weight"] = weights[start + "down_proj.weight"] / scales


def _take_heads(weights: Weights, traits: Traits, layer: int, order: Tensor) -> None:
    start = f"{block(layer)}self_attn."
    _take(weights, start + "q_proj", order, traits.head_dim)
    columns = _places(order, traits.head_dim)
    weights[start + "o_proj.weight"] = weights[start + "o_proj.weight"][:, columns]


def _take(weights: Weights, module: str, order: Tensor, size: int) -> None:
    rows = _places(order, size)
    for part in ("weight", "bias"):
        if f"{module}.{part}" in weights:
            weights[f"{module}.{part}"] = weights[f"{module}.{part}"][rows]


def _places(order: Tensor, size: int) -> Tensor:
    return (order[:, None] * size + torch.arange(size)).flatten()


def _rows(weights: Weights, module: str, head: int, size: int, matrix: Tensor) -> None:
    rows = slice(head * size, (head + 1) * size)
    for part in ("weight", "bias"):
        if f"{module}.{part}" in weights:
            weights[f"{module}.{part}"][rows] = matrix @ weights[f"{module}.{part}"][rows]


def _group_rows(traits: Traits, group: int) -> list[slice]:
    each, size = traits.heads // traits.groups, traits.head_dim
    return [slice(h * size, (h + 1) * size) for h in range(group * each, (group + 1) * each)]
