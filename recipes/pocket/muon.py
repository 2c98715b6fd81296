"""The Muon optimizer in float32: momentum whose update is made orthogonal, for weight matrices.

Source: Jordan et al., *Muon* (2024), with the update's size matched
to Adam's as in arXiv 2502.16982. `torch.optim.Muon` computes in bf16, which a CPU without bf16
instructions does a hundred times slower.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_A, _B, _C = 3.4445, -4.7750, 2.0315
_STEPS = 5


class Muon(Optimizer):
    """Steps matrices `[out, in]`; those of one shape are stacked and made orthogonal together."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.05,
    ) -> None:
        """Group the matrices by shape.

        Raises:
            ValueError: One of them is not a matrix.
        """
        shapes: dict[torch.Size, list[Tensor]] = {}
        for matrix in matrices:
            if matrix.dim() != 2:
                raise ValueError(f"Muon steps matrices only, not a tensor of {matrix.dim()} axes")
            shapes.setdefault(matrix.shape, []).append(matrix)
        settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__([{"params": group} for group in shapes.values()], settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        for group in self.param_groups:
            matrices: list[Tensor] = group["params"]
            gradient = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
            if len(gradient) < len(matrices):
                raise ValueError("Muon needs a gradient for every matrix")
            state = self.state[matrices[0]]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            momentum = state["momentum"].lerp_(gradient, 1 - group["momentum"])
            update = orthogonal(gradient.lerp(momentum, group["momentum"]))
            update *= 0.2 * max(update.shape[1:]) ** 0.5
            for matrix, change in zip(matrices, update, strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(change, alpha=-group["lr"])


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of each of `[n, rows, columns]` near one, by Newton and Schulz."""
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.mT
