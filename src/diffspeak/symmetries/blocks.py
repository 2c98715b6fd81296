"""Undo what was done within a block: to heads, queries and keys, values, neurons.

Expects the residual stream and the block's norms aligned. Formulas: docs/symmetries.md.
"""

from itertools import product

import torch
from torch import Tensor

from diffspeak.symmetries import transforms
from diffspeak.symmetries.architecture import DOWN, GATE, UP, K, O, PlainWeights, Q, Traits, V
from diffspeak.symmetries.least_squares import (
    assign,
    cosines,
    invertible,
    overlap,
    pair_likeness,
    pair_numbers,
    scales,
)
from diffspeak.symmetries.refinement import from_identity, refine
from diffspeak.symmetries.weights import ModelPair

NUDGE = 1e-4
"""How far a matrix must be from the identity, or a neuron's scale from 1, to count as undone."""

HEAD_NUDGE = 1e-3
"""How far the logarithm of a scale of head norms or heads must be from 0 to count as undone."""

AGREED = 0.25
"""How far what a pair's numbers tell may be spread, by how much they tell, over a block."""


def align_block(models: ModelPair, layer: int) -> None:
    """Align one block's attention and MLP with the base's."""
    _match_groups(models, layer)
    _match_heads(models, layer)
    if models.traits.head_norms:
        _align_head_norms(models, layer)
        _unscale_heads(models, layer)
    else:
        _undo_matrices(models, layer, "pairs" if models.traits.rotary else "queries")
    _undo_matrices(models, layer, "values")
    _match_neurons(models, layer)
    if models.traits.gated or models.traits.homogeneous:
        _unscale_neurons(models, layer)


def _rows(weights: PlainWeights, module: str) -> Tensor:
    """Rows of a linear `[out, in]`, its bias as one more column if it has one."""
    rows = weights[f"{module}.weight"]
    if f"{module}.bias" in weights:
        rows = torch.cat([rows, weights[f"{module}.bias"][:, None]], 1)
    return rows


def _match_groups(models: ModelPair, layer: int) -> None:
    traits, count = models.traits, models.traits.groups
    if count == 1:
        return
    keys, values = (_heads_of(models, layer, module) for module in (K, V))
    scores = torch.zeros(count, count, dtype=torch.float64)
    for i, j in product(range(count), repeat=2):
        scores[i, j] = _likeness(keys[0][i], keys[1][j], traits)
        scores[i, j] += overlap(values[0][i], values[1][j])
    order = assign(scores)
    moved = int((order != torch.arange(count)).sum())
    models.findings.add("groups", moved, count)
    if moved:
        models.given.apply(transforms.permute_groups, traits, order, part=layer)


def _match_heads(models: ModelPair, layer: int) -> None:
    traits, each = models.traits, models.traits.heads // models.traits.groups
    if each == 1:
        return
    queries = _heads_of(models, layer, Q)
    columns = [_columns(side).unflatten(0, (-1, traits.head_dim)) for side in models.first(layer)]
    order = torch.arange(traits.heads)
    for start in range(0, traits.heads, each):
        scores = torch.zeros(each, each, dtype=torch.float64)
        for i, j in product(range(each), repeat=2):
            scores[i, j] = _likeness(queries[0][start + i], queries[1][start + j], traits)
            scores[i, j] += overlap(columns[0][start + i], columns[1][start + j])
        order[start : start + each] = start + assign(scores)
    moved = int((order != torch.arange(traits.heads)).sum())
    models.findings.add("heads", moved, traits.heads)
    if moved:
        models.given.apply(transforms.permute_heads, traits, order, part=layer)


def _heads_of(models: ModelPair, layer: int, module: str) -> list[Tensor]:
    """A projection's heads `[head, head_dim, in]`, of both models."""
    size = models.traits.head_dim
    return [_rows(side, module).unflatten(0, (-1, size)) for side in models.first(layer)]


def _columns(weights: PlainWeights) -> Tensor:
    """Columns of the output projection, `[head * head_dim, out]`."""
    return weights[f"{O}.weight"].T


def _likeness(given: Tensor, wanted: Tensor, traits: Traits) -> Tensor:
    """Of two query or key heads `[head_dim, in]`."""
    return pair_likeness(given, wanted) if traits.rotary else overlap(given, wanted)


def _undo_matrices(models: ModelPair, layer: int, kind: str) -> None:
    """Undo a matrix of each key-value head; the kind is "values", "queries" or "pairs"."""
    traits = models.traits
    size, groups = traits.head_dim, traits.groups
    if kind == "values":
        sides = [[_rows(side, V), _columns(side)] for side in models.first(layer)]
    else:
        sides = [[_rows(side, module) for module in (Q, K)] for side in models.first(layer)]

    def by_group(rows: Tensor) -> Tensor:
        """`[head * size, n]` as `[group, size, heads of it * n]`."""
        split: Tensor = rows.unflatten(0, (groups, -1, size)).transpose(1, 2).flatten(2)
        return split

    def fit(given: list[Tensor], wanted: list[Tensor]) -> Tensor:
        grouped = [by_group(rows) for rows in (*given, *wanted)]
        if kind != "pairs":
            return invertible(*grouped)
        numbers = [pair_numbers(*of_group) for of_group in zip(*grouped, strict=True)]
        return transforms.turn_matrix(torch.stack(numbers))

    def move(given: list[Tensor], found: Tensor) -> list[Tensor]:
        both = zip(given, (found, torch.linalg.inv(found).mT), strict=True)
        return [transforms.mix_rows(rows, matrices) for rows, matrices in both]

    free = groups * (size if kind == "pairs" else size**2)
    total = refine(sides, fit, move, free, models.grain)
    if total is None:
        models.findings.add(kind, 0, groups)
        return
    transform = transforms.mix_values if kind == "values" else transforms.mix_queries
    models.given.apply(transform, total, part=layer)
    moved = total[from_identity(total) > NUDGE]
    largest = torch.linalg.cond(moved).max().item() if len(moved) else 1.0
    models.findings.add(kind, len(moved), groups, largest)


def _align_head_norms(models: ModelPair, layer: int) -> None:
    """Undo quarter turns, signs and scales of rotary pairs against query and key norms."""
    traits = models.traits
    moved = _turn_pairs(models, layer) + _flip_numbers(models, layer) + _flip_pairs(models, layer)
    scaled, largest = _scale_norms(models, layer)
    looked_at = 3 * traits.head_dim + traits.groups * traits.head_dim
    models.findings.add("head-norms", moved + scaled, looked_at, largest)


def _unit_heads(models: ModelPair, layer: int, module: str) -> list[Tensor]:
    """Query or key heads `[head, head_dim, in]` of both models, each row of norm 1."""
    found = []
    for side in models.first(layer):
        weight = side[f"{module}.weight"]
        unit = weight / weight.norm(dim=1, keepdim=True).clamp_min(1e-300)
        found.append(unit.unflatten(0, (-1, models.traits.head_dim)))
    return found


def _norm_weights(models: ModelPair, layer: int, which: str) -> list[Tensor]:
    return [side[f"self_attn.{which}_norm.weight"] for side in models.first(layer)]


def _turn_pairs(models: ModelPair, layer: int) -> int:
    size = models.traits.head_dim
    gain = torch.zeros(size, dtype=torch.float64)
    for module in (Q, K):
        given, wanted = _unit_heads(models, layer, module)
        gain += (given * wanted.roll(size // 2, 1)).sum(2).square().sum(0)
        gain -= (given * wanted).sum(2).square().sum(0)
    turned = gain.unflatten(0, (2, -1)).sum(0) > 0
    if turned.any():
        models.given.apply(transforms.quarter_turns, models.traits, turned, part=layer)
    return 2 * int(turned.sum())


def _flip_numbers(models: ModelPair, layer: int) -> int:
    flipped = 0
    for which in "qk":
        given, wanted = _norm_weights(models, layer, which)
        signs = torch.where(given * wanted < 0, -1.0, 1.0).double()
        if (signs < 0).any():
            models.given.apply(transforms.flip_numbers, which, signs, part=layer)
        flipped += int((signs < 0).sum())
    return flipped


def _flip_pairs(models: ModelPair, layer: int) -> int:
    shape = (models.traits.groups, -1, models.traits.head_dim)
    alike = torch.zeros(models.traits.groups, models.traits.head_dim, dtype=torch.float64)
    for module in (Q, K):
        given, wanted = _unit_heads(models, layer, module)
        alike += (given * wanted).sum(2).reshape(shape).sum(1)
    signs = torch.where(alike.unflatten(1, (2, -1)).sum(1) < 0, -1.0, 1.0).double()
    if (signs < 0).any():
        models.given.apply(transforms.flip_pairs, models.traits, signs, part=layer)
    return 2 * int((signs < 0).sum())


def _scale_norms(models: ModelPair, layer: int) -> tuple[int, float]:
    """Undo scales of pairs: all four numbers of a pair tell the same one, or it is finetuning."""
    logs = []
    for which, sign in (("q", 1), ("k", -1)):
        given, wanted = _norm_weights(models, layer, which)
        ratio = (given / wanted).abs().clamp(1e-12, 1e12)
        logs += [sign * part for part in ratio.log().chunk(2)]
    told = torch.stack(logs)
    middle, spread = told.mean(0), told.max(0).values - told.min(0).values
    moved = int((middle.abs() > HEAD_NUDGE).sum())
    if not moved or spread.norm() > AGREED * middle.norm():
        return 0, 1.0
    models.given.apply(transforms.scale_head_norms, torch.exp(-middle), part=layer)
    return 2 * moved, torch.exp(middle.abs().max()).item()


def _unscale_heads(models: ModelPair, layer: int) -> None:
    traits = models.traits
    sides = [[side[f"{module}.weight"] for module in (Q, K)] for side in models.first(layer)]

    def fit(given: list[Tensor], wanted: list[Tensor]) -> Tensor:
        found = []
        for both in zip(given, wanted, strict=True):
            one, other = (rows.unflatten(0, (-1, traits.head_dim)) for rows in both)
            best = (one * other).sum((1, 2)) / one.square().sum((1, 2)).clamp_min(1e-300)
            found.append(torch.where(best > 0, best, 1.0))
        return torch.cat(found)

    def move(given: list[Tensor], found: Tensor) -> list[Tensor]:
        rows = found.repeat_interleave(traits.head_dim)[:, None]
        both = zip(given, rows.split([len(side) for side in given]), strict=True)
        return [side * factor for side, factor in both]

    count = traits.heads + traits.groups
    total = refine(sides, fit, move, count, models.grain)
    if total is None:
        models.findings.add("head-scales", 0, count)
        return
    models.given.apply(transforms.scale_heads, traits, total, part=layer)
    logs = total.log().abs()
    moved = int((logs > HEAD_NUDGE).sum())
    models.findings.add("head-scales", moved, count, torch.exp(logs.max()).item())


def _match_neurons(models: ModelPair, layer: int) -> None:
    given, wanted = models.first(layer)
    scores = cosines(given[f"{UP}.weight"], wanted[f"{UP}.weight"])
    down = cosines(given[f"{DOWN}.weight"].T, wanted[f"{DOWN}.weight"].T)
    if models.traits.gated:
        # Up and down may be scaled against each other, by a negative number too.
        scores = scores.abs_().add_(down.abs_())
        scores += cosines(given[f"{GATE}.weight"], wanted[f"{GATE}.weight"])
    else:
        scores += down
    order = assign(scores)
    moved = int((order != torch.arange(order.numel())).sum())
    models.findings.add("neurons", moved, order.numel())
    if moved:
        models.given.apply(transforms.permute_neurons, order, part=layer)


def _unscale_neurons(models: ModelPair, layer: int) -> None:
    sides = [[_rows(side, UP), side[f"{DOWN}.weight"].T] for side in models.first(layer)]

    def fit(given: list[Tensor], wanted: list[Tensor]) -> Tensor:
        found = scales(*given, *wanted)
        return found if models.traits.gated else found.abs()

    def move(given: list[Tensor], found: Tensor) -> list[Tensor]:
        return [given[0] * found[:, None], given[1] / found[:, None]]

    count = len(sides[0][0])
    total = refine(sides, fit, move, count, models.grain)
    if total is None:
        models.findings.add("neuron-scales", 0, count)
        return
    models.given.apply(transforms.scale_neurons, total, part=layer)
    moved = int((from_identity(total) > NUDGE).sum())
    largest = torch.exp(total.abs().log().abs().max()).item()
    models.findings.add("neuron-scales", moved, count, largest)
