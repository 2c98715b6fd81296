"""Undo what was done within attention: heads permuted, invertible matrices, turns, signs, scales.

Takes weights and the base's in the plain layout, the residual stream and its norms aligned; changes
the weights, block by block. Formulas: docs/symmetries.md.
"""

import torch
from torch import Tensor

from diffspeak.audit.symmetries import moves
from diffspeak.audit.symmetries.fits import invertible, pair_numbers
from diffspeak.audit.symmetries.found import Ledger
from diffspeak.audit.symmetries.head_norms import align_head_norms
from diffspeak.audit.symmetries.layout import Weights, block
from diffspeak.audit.symmetries.matching import assign, overlap, pair_likeness
from diffspeak.audit.symmetries.refine import refine
from diffspeak.audit.symmetries.traits import Traits

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
        _queries(weights, base, traits, layer, ledger, grain)
    _values(weights, base, traits, layer, ledger, grain)


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


def _values(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger, grain: float
) -> None:
    each = traits.heads // traits.groups
    size = traits.head_dim
    totals = [torch.eye(size, dtype=torch.float64) for _ in range(traits.groups)]

    def fit(target: Weights) -> None:
        for group in range(traits.groups):
            places = slice(group * each, (group + 1) * each)
            sides = []
            for side in (weights, target):
                values = heads(side, traits, layer, "v_proj")[group]
                columns = outputs(side, traits, layer)[places]
                sides.append((values, columns.transpose(0, 1).flatten(1)))
            matrix = invertible(*sides[0], *sides[1])
            moves.mix_values(weights, traits, layer, group, matrix)
            totals[group] = matrix @ totals[group]

    names = _names(weights, layer, ("v_proj", "o_proj"))
    _note(ledger, "values", totals, refine(weights, base, names, fit, grain))


def _queries(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger, grain: float
) -> None:
    each = traits.heads // traits.groups
    size = traits.head_dim
    totals = [torch.eye(size, dtype=torch.float64) for _ in range(traits.groups)]

    def fit(target: Weights) -> None:
        for group in range(traits.groups):
            places = slice(group * each, (group + 1) * each)
            sides = []
            for side in (weights, target):
                queries = heads(side, traits, layer, "q_proj")[places]
                keys = heads(side, traits, layer, "k_proj")[group]
                sides.append((queries.transpose(0, 1).flatten(1), keys))
            if traits.rotary:
                matrix = moves.turn_matrix(pair_numbers(*sides[0], *sides[1]))
            else:
                matrix = invertible(*sides[0], *sides[1])
            moves.mix_queries(weights, traits, layer, group, matrix)
            totals[group] = matrix @ totals[group]

    names = _names(weights, layer, ("q_proj", "k_proj"))
    kind = "pairs" if traits.rotary else "queries"
    _note(ledger, kind, totals, refine(weights, base, names, fit, grain))


def _names(weights: Weights, layer: int, kinds: tuple[str, ...]) -> list[str]:
    starts = tuple(f"{block(layer)}self_attn.{kind}." for kind in kinds)
    return [name for name in weights if name.startswith(starts)]


def _note(ledger: Ledger, kind: str, totals: list[Tensor], changed: bool) -> None:
    same = torch.eye(totals[0].shape[0], dtype=torch.float64)
    moved = [total for total in totals if changed and (total - same).norm() > NUDGE]
    largest = max((torch.linalg.cond(total).item() for total in moved), default=1.0)
    ledger.add(kind, len(moved), len(totals), largest)
