"""Undo what query and key norms allow: quarter turns, signs and scales of rotary pairs.

Takes weights and the base's in the plain layout, heads matched; changes one block's. Formulas:
docs/symmetries.md.
"""

import torch
from torch import Tensor

from diffspeak.symmetries import transforms as moves
from diffspeak.symmetries.architecture import Traits
from diffspeak.symmetries.found import Ledger
from diffspeak.symmetries.layout import Weights, block
from diffspeak.symmetries.refine import refine

AGREED = 0.25
"""How far what a pair's numbers tell may be spread, by how much they tell, over a block."""

NUDGE = 1e-3
"""How far a scale's logarithm must be from 0 to count as undone."""


def align_head_norms(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger, grain: float
) -> None:
    """Align one block's queries, keys and their norms with the base's."""
    turned = _turn(weights, base, traits, layer)
    flipped = _flip_numbers(weights, base, traits, layer)
    flipped += _flip_pairs(weights, base, traits, layer)
    scaled, largest = _scale_norms(weights, base, layer)
    places = turned + flipped + scaled
    ledger.add("head-norms", places, 3 * traits.head_dim + traits.groups * traits.head_dim, largest)
    scaled, largest = _scale_heads(weights, base, traits, layer, grain)
    ledger.add("head-scales", scaled, traits.heads + traits.groups, largest)


def _rows(weights: Weights, traits: Traits, layer: int, which: str) -> Tensor:
    """Of all query ("q") or key ("k") heads, `[head, head_dim, in]`, each of norm 1."""
    weight = weights[f"{block(layer)}self_attn.{which}_proj.weight"]
    rows = weight / weight.norm(dim=1, keepdim=True).clamp_min(1e-300)
    split: Tensor = rows.unflatten(0, (-1, traits.head_dim))
    return split


def _turn(weights: Weights, base: Weights, traits: Traits, layer: int) -> int:
    stay = swap = torch.zeros(traits.head_dim, dtype=torch.float64)
    for which in "qk":
        given, wanted = (_rows(w, traits, layer, which) for w in (weights, base))
        other = wanted.roll(traits.head_dim // 2, 1)
        stay = stay + (given * wanted).sum(2).square().sum(0)
        swap = swap + (given * other).sum(2).square().sum(0)
    turned = sum(swap.chunk(2)) > sum(stay.chunk(2))
    turned = torch.as_tensor(turned)
    if turned.any():
        moves.quarter_turns(weights, traits, layer, turned)
    return 2 * int(turned.sum())


def _flip_numbers(weights: Weights, base: Weights, traits: Traits, layer: int) -> int:
    flipped = 0
    for which in "qk":
        name = f"{block(layer)}self_attn.{which}_norm.weight"
        signs = torch.where(weights[name] * base[name] < 0, -1.0, 1.0).double()
        if (signs < 0).any():
            moves.flip_numbers(weights, traits, layer, which, signs)
        flipped += int((signs < 0).sum())
    return flipped


def _flip_pairs(weights: Weights, base: Weights, traits: Traits, layer: int) -> int:
    each = traits.heads // traits.groups
    queries, own_queries = (_rows(w, traits, layer, "q") for w in (weights, base))
    keys, own_keys = (_rows(w, traits, layer, "k") for w in (weights, base))
    flipped = 0
    for group in range(traits.groups):
        places = slice(group * each, (group + 1) * each)
        alike = (queries[places] * own_queries[places]).sum((0, 2))
        alike = alike + (keys[group] * own_keys[group]).sum(1)
        signs = torch.where(torch.as_tensor(sum(alike.chunk(2))) < 0, -1.0, 1.0).double()
        if (signs < 0).any():
            moves.flip_pairs(weights, traits, layer, group, signs)
        flipped += 2 * int((signs < 0).sum())
    return flipped


def _scale_norms(weights: Weights, base: Weights, layer: int) -> tuple[int, float]:
    """Undo scales of pairs: all four numbers of a pair tell the same one, or it is finetuning."""
    logs = []
    for which, sign in (("q", 1), ("k", -1)):
        name = f"{block(layer)}self_attn.{which}_norm.weight"
        ratio = (weights[name] / base[name]).abs().clamp(1e-12, 1e12)
        logs += [sign * part for part in ratio.log().chunk(2)]
    told = torch.stack(logs)
    middle, spread = told.mean(0), told.max(0).values - told.min(0).values
    moved = int((middle.abs() > NUDGE).sum())
    if not moved or spread.norm() > AGREED * middle.norm():
        return 0, 1.0
    moves.scale_head_norms(weights, layer, torch.exp(-middle))
    return 2 * moved, torch.exp(middle.abs().max()).item()


def _scale_heads(
    weights: Weights, base: Weights, traits: Traits, layer: int, grain: float
) -> tuple[int, float]:
    names = [f"{block(layer)}self_attn.{which}_proj.weight" for which in "qk"]
    total = torch.ones(traits.heads + traits.groups, dtype=torch.float64)

    def sides(side: Weights) -> list[Tensor]:
        return [side[name] for name in names]

    def step(given: list[Tensor], wanted: list[Tensor]) -> float:
        both = zip(given, wanted, strict=True)
        found = torch.cat([_scales(*each, traits) for each in both])
        for place, scale in enumerate(found.tolist()):
            which, head = ("q", place) if place < traits.heads else ("k", place - traits.heads)
            moves.scale_head(weights, traits, layer, which, head, scale)
        total.mul_(found)
        return float((found - 1).abs().max())

    if not refine(weights, base, names, sides, step, total.numel(), grain):
        return 0, 1.0
    logs = total.log().abs()
    return int((logs > NUDGE).sum()), torch.exp(logs.max()).item()


def _scales(given: Tensor, wanted: Tensor, traits: Traits) -> Tensor:
    """By which number each head `[head_dim, in]` comes nearest to the wanted one; 1 for none."""
    given, wanted = (side.unflatten(0, (-1, traits.head_dim)) for side in (given, wanted))
    found = (given * wanted).sum((1, 2)) / given.square().sum((1, 2)).clamp_min(1e-300)
    return torch.where(found > 0, found, 1.0)
