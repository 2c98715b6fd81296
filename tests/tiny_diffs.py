"""Random weight diffs and the plainest way to apply one: added into the weights of a copy.

What the oracles of several rooms compare with. Knows neither attachments nor batches of finetunes.
"""

import copy
from collections.abc import Mapping

import torch
from torch import nn

from diffspeak.lora import Diff, LinearShape, LowRank


def random_change(
    shape: LinearShape, rank: int = 2, scaling: float = 1.5, seed: int = 0
) -> LowRank:
    """One linear's change, about as large as a tiny model's own weights."""
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        torch.randn(rank, shape.inputs, generator=generator) * shape.inputs**-0.5,
        torch.randn(shape.outputs, rank, generator=generator) * rank**-0.5,
        scaling,
    )


def random_diff(
    shapes: Mapping[str, LinearShape], rank: int = 2, scaling: float = 1.5, seed: int = 0
) -> Diff:
    """A change of every given linear; another seed gives another diff."""
    return {
        name: random_change(shape, rank, scaling, seed * 1000 + place)
        for place, (name, shape) in enumerate(shapes.items())
    }


def merged(model: nn.Module, *diffs: Diff) -> nn.Module:
    """A copy of a plain model with the dense changes added to its weights."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for diff in diffs:
            for name, change in diff.items():
                linear = model.get_submodule(name)
                dense = change.scaling * change.B @ change.A
                linear.weight += dense if isinstance(linear, nn.Linear) else dense.T
    return model
