"""Undo what was done within an MLP: neurons permuted, up scaled against down.

Takes weights and the base's in the plain layout, the residual stream and its norms aligned; changes
one block's. Formulas: docs/symmetries.md.
"""

import torch
from torch import Tensor

from diffspeak.symmetries import transforms as moves
from diffspeak.symmetries.architecture import Traits
from diffspeak.symmetries.found import Ledger
from diffspeak.symmetries.layout import Weights, block
from diffspeak.symmetries.least_squares import scales
from diffspeak.symmetries.matching import assign, cosines
from diffspeak.symmetries.refine import refine

NUDGE = 1e-4
"""How far a scale must be from 1 to count as undone."""


def align_mlp(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger, grain: float
) -> None:
    """Align one block's MLP with the base's."""
    order = assign(_likeness(weights, base, traits, layer))
    moved = int((order != torch.arange(order.numel())).sum())
    ledger.add("neurons", moved, order.numel())
    if moved:
        moves.permute_neurons(weights, layer, order)
    if traits.gated or traits.homogeneous:
        _unscale(weights, base, traits, layer, ledger, grain)


def _likeness(weights: Weights, base: Weights, traits: Traits, layer: int) -> Tensor:
    """Of each neuron with each of the base's, whatever their scales."""
    start = f"{block(layer)}mlp."
    up = cosines(weights[start + "up_proj.weight"], base[start + "up_proj.weight"])
    down = cosines(weights[start + "down_proj.weight"].T, base[start + "down_proj.weight"].T)
    if not traits.gated:
        return up + down
    gate = cosines(weights[start + "gate_proj.weight"], base[start + "gate_proj.weight"])
    return gate + up.abs() + down.abs()


def _unscale(
    weights: Weights, base: Weights, traits: Traits, layer: int, ledger: Ledger, grain: float
) -> None:
    start = f"{block(layer)}mlp."
    names = [
        name for name in weights if name.startswith((f"{start}up_proj.", f"{start}down_proj.w"))
    ]
    total = torch.ones(weights[start + "up_proj.weight"].shape[0], dtype=torch.float64)

    def sides(side: Weights) -> list[Tensor]:
        return [_up(side, layer), side[start + "down_proj.weight"].T]

    def step(given: list[Tensor], wanted: list[Tensor]) -> float:
        found = scales(*given, *wanted)
        if not traits.gated:
            found = found.abs()
        moves.scale_neurons(weights, layer, found)
        total.mul_(found)
        return float((found - 1).abs().max())

    changed = refine(weights, base, names, sides, step, total.numel(), grain)
    moved = int(((total - 1).abs() > NUDGE).sum()) if changed else 0
    largest = torch.exp(total.abs().log().abs().max()).item()
    ledger.add("neuron-scales", moved, total.numel(), largest)


def _up(weights: Weights, layer: int) -> Tensor:
    """Rows of up `[neuron, in]`, the bias as one more column if there is one."""
    name = f"{block(layer)}mlp.up_proj"
    rows = weights[f"{name}.weight"]
    if f"{name}.bias" in weights:
        rows = torch.cat([rows, weights[f"{name}.bias"][:, None]], 1)
    return rows
