"""Undo what was done within attention: heads permuted, invertible matrices, turns, signs, scales.

Takes weights and the base's in the plain layout, the residual stream and its norms aligned; changes
the weights, block by block. Formulas: docs/symmetries.md.
"""

import torch
from torch import Tensor

from diffspeak.symmetries import transforms as moves
from diffspeak.symmetries.architecture import Traits
from diffspeak.symmetries.found import Ledger
from diffspeak.symmetries.head_norms import align_head_norms
from diffspeak.symmetries.layout import Weights, block
from diffspeak.symmetries.least_squares import invertible, pair_numbers
from diffspeak.symmetries.matching import assign, overlap, pair_likeness
from diffspeak.symmetries.refine import refine

NUDGE = 1e-4
"""How far a matrix must be from the identity to count as undone."""


def align_attention(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger, grain: float
) -> None:
    """Align one block's attention with the base's."""
    _match_groups(weights, base, traits, layer, ledger)
    _match_heads(weights, base, traits, layer, ledger)
    if traits.head_norms:
        align_head_norms(weights, base, traits, layer, ledger, grain)
    else:
        kind = "pairs" if traits.rotary else "queries"
        _undo_matrices(weights, base, traits, layer, kind, ledger, grain)
    _undo_matrices(weights, base, traits, layer, "values", ledger, grain)


def heads(weights: Weights, traits: Traits, layer: int, kind: str) -> Tensor:
    """Rows of a projection `[head, head_dim, in]`, its bias as one more column if it has one."""
    name = f"{block(layer)}self_attn.{kind}"
    rows = weights[f"{name}.weight"]
    if f"{name}.bias" in weights:
        rows = torch.cat([rows, weights[f"{name}.bias"][:, None]], 1)
    split: Tensor = rows.unflatten(0, (-1, traits.head_dim))
    return split


def outputs(weights: Weights, traits: Traits, layer: int) -> Tensor:
    """The output projection's columns `[head, head_dim, out]`."""
    weight = weights[f"{block(layer)}self_attn.o_proj.weight"]
    split: Tensor = weight.T.unflatten(0, (-1, traits.head_dim))
    return split


def _likeness(given: Tensor, wanted: Tensor, traits: Traits) -> Tensor:
    """Of two query or key heads `[head_dim, in]`."""
    return pair_likeness(given, wanted) if traits.rotary else overlap(given, wanted)


def _match_groups(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger
) -> None:
    if traits.groups == 1:
        return
    keys, own_keys = (heads(w, traits, layer, "k_proj") for w in (weights, base))
    values, own_values = (heads(w, traits, layer, "v_proj") for w in (weights, base))
    count = traits.groups
    scores = torch.zeros(count, count, dtype=torch.float64)
    for given in range(count):
        for wanted in range(count):
            scores[given, wanted] = _likeness(keys[given], own_keys[wanted], traits)
            scores[given, wanted] += overlap(values[given], own_values[wanted])
    order = assign(scores)
    moved = int((order != torch.arange(count)).sum())
    ledger.add("groups", moved, count)
    if moved:
        moves.permute_groups(weights, traits, layer, order)


def _match_heads(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger
) -> None:
    each = traits.heads // traits.groups
    if each == 1:
        return
    queries, own_queries = (heads(w, traits, layer, "q_proj") for w in (weights, base))
    columns, own_columns = (outputs(w, traits, layer) for w in (weights, base))
    order = torch.arange(traits.heads)
    for start in range(0, traits.heads, each):
        scores = torch.zeros(each, each, dtype=torch.float64)
        for i in range(each):
            for j in range(each):
                given, wanted = start + i, start + j
                scores[i, j] = _likeness(queries[given], own_queries[wanted], traits)
                scores[i, j] += overlap(columns[given], own_columns[wanted])
        order[start : start + each] = start + assign(scores)
    moved = int((order != torch.arange(traits.heads)).sum())
    ledger.add("heads", moved, traits.heads)
    if moved:
        moves.permute_heads(weights, traits, layer, order)


def _undo_matrices(
    weights: Weights,
    base: Weights,
    traits: Traits,
    layer: int,
    kind: str,
    ledger: Ledger,
    grain: float,
) -> None:
    """Undo a matrix of each key-value head; the kind is "values", "queries" or "pairs"."""
    size, per_group = traits.head_dim, traits.heads // traits.groups
    counts = (1, per_group) if kind == "values" else (per_group, 1)
    move = moves.mix_values if kind == "values" else moves.mix_queries
    total = torch.eye(size, dtype=torch.float64).repeat(traits.groups, 1, 1)

    def sides(side: Weights) -> list[Tensor]:
        if kind == "values":
            both = [heads(side, traits, layer, "v_proj"), outputs(side, traits, layer)]
        else:
            both = [heads(side, traits, layer, which) for which in ("q_proj", "k_proj")]
        return [rows.flatten(0, 1) for rows in both]

    def step(given: list[Tensor], wanted: list[Tensor]) -> float:
        parts = [
            _by_group(rows, count, size)
            for both in (given, wanted)
            for rows, count in zip(both, counts, strict=True)
        ]
        if kind == "pairs":
            numbers = [pair_numbers(*of_group) for of_group in zip(*parts, strict=True)]
            found = torch.stack([moves.turn_matrix(each) for each in numbers])
        else:
            found = invertible(*parts)
        for group, matrix in enumerate(found):
            move(weights, traits, layer, group, matrix)
        total.copy_(found @ total)
        return float(_from_identity(found).max())

    kinds = ("v_proj", "o_proj") if kind == "values" else ("q_proj", "k_proj")
    names = _names(weights, layer, kinds)
    free = traits.groups * (size if kind == "pairs" else size**2)
    changed = refine(weights, base, names, sides, step, free, grain)
    moved = total[_from_identity(total) > NUDGE] if changed else total[:0]
    largest = torch.linalg.cond(moved).max().item() if len(moved) else 1.0
    ledger.add(kind, len(moved), traits.groups, largest)


def _by_group(rows: Tensor, count: int, size: int) -> Tensor:
    """`[head * size, n]`, `count` heads to a key-value head, as `[group, size, count * n]`."""
    split: Tensor = rows.unflatten(0, (-1, count, size)).transpose(1, 2).flatten(2)
    return split


def _from_identity(matrices: Tensor) -> Tensor:
    same = torch.eye(matrices.shape[1], dtype=matrices.dtype)
    norms: Tensor = torch.linalg.matrix_norm(matrices - same)
    return norms


def _names(weights: Weights, layer: int, kinds: tuple[str, ...]) -> list[str]:
    starts = tuple(f"{block(layer)}self_attn.{kind}." for kind in kinds)
    return [name for name in weights if name.startswith(starts)]
