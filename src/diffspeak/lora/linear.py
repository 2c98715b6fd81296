"""A linear that carries a different diff for each row of the batch, and one adapter for all.

    y[row] = base(x[row]) + diff[task of row](x[row]) + adapter(x[row])

Takes hidden states, gives hidden states. Wraps any module that maps `[..., in]` to `[..., out]`;
it does not know which kind, nor where in which model it stands. Both additions are two thin
products (Hu et al., arXiv 2106.09685); no dense change is ever built.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from diffspeak.errors import MismatchError
from diffspeak.lora.factors import LowRank


class LinearShape(NamedTuple):
    """What a linear maps, and how its weight lies.

    Attributes:
        inputs: Size of the last axis that goes in.
        outputs: Size of the last axis that comes out.
        transposed: The weight is stored `[in, out]`, as in GPT-2's Conv1D.
    """

    inputs: int
    outputs: int
    transposed: bool = False


@dataclass
class Switches:
    """What all linears of one attachment have in common; changed by the attachment alone.

    Attributes:
        diff: Whether the diffs are added.
        adapter: Whether the adapter is added.
        tasks: `[row]`, which task of the stack each row of the batch belongs to. None: the rows
            lie in equal groups, all rows of the first task first.
    """

    diff: bool = True
    adapter: bool = True
    tasks: Tensor | None = field(default=None)


class DiffLinear(nn.Module):
    """The wrapped linear. With both switches off it is its base, bit for bit.

    Args:
        base: The module to wrap; called unchanged.
        shape: Its sizes.
        switches: Shared by all linears of one attachment.
        name: Its full name in the model, for messages.
    """

    diff: LowRank | None
    adapter: LowRank | None

    def __init__(self, base: nn.Module, shape: LinearShape, switches: Switches, name: str) -> None:
        super().__init__()
        self.base = base
        self.shape = shape
        self.switches = switches
        self.name = name
        self.diff = None
        self.adapter = None

    @property
    def weight(self) -> Tensor:
        """The base's own weight: some models look at it for a dtype."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return weight

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [row, token, in]` to `[row, token, out]`.

        Raises:
            MismatchError: A diff is on and `x` does not have one leading row for each row of the
                batch (some mixtures of experts flatten them).
        """
        y: Tensor = self.base(x)
        if self.diff is not None and self.switches.diff:
            y = self._with_diff(y, x, self.diff)
        if self.adapter is not None and self.switches.adapter:
            flat = _added(y.flatten(0, -2)[None], x.flatten(0, -2)[None], self.adapter)
            y = flat.view_as(y)
        return y

    def _with_diff(self, y: Tensor, x: Tensor, diff: LowRank) -> Tensor:
        if x.dim() != 3:
            raise MismatchError(
                f"{self.name} is fed {x.dim()} axes, not [row, token, in]: a diff for each row "
                "cannot be applied there; leave it out of the targets"
            )
        tasks = self.switches.tasks
        if tasks is not None:
            self._check_rows(x, len(x) == len(tasks), str(len(tasks)))
            return _added(y, x, diff[tasks])
        groups = diff.A.shape[0]
        self._check_rows(x, len(x) % groups == 0, f"{groups} tasks in equal groups")
        grouped_y, grouped_x = (part.reshape(groups, -1, part.shape[-1]) for part in (y, x))
        return _added(grouped_y, grouped_x, diff).view_as(y)

    def _check_rows(self, x: Tensor, fits: bool, expected: str) -> None:
        if not fits:
            raise MismatchError(
                f"{self.name} got a batch of {len(x)} rows where the diffs are set for {expected}; "
                "call set_diffs with one task index for each row"
            )


def _added(y: Tensor, x: Tensor, change: LowRank) -> Tensor:
    """Give `y + scaling * x A^T B^T`, in one pass over `y`.

    Factors are cast to the dtype of `x`; they may themselves be float32 that is being trained.

    Args:
        y: `[group, token, out]`
        x: `[group, token, in]`
        change: `A [group, rank, in]`, `B [group, out, rank]`, or one for all groups.
    """
    a, b = (
        factor.to(x.dtype).transpose(-1, -2).expand(len(x), -1, -1)
        for factor in (change.A, change.B)
    )
    return torch.baddbmm(y, x.bmm(a), b, alpha=change.scaling)


def linear_shape(module: nn.Module) -> LinearShape | None:
    """Tell whether a module is one of torch's own linears, and its sizes."""
    if isinstance(module, nn.Linear):
        return LinearShape(module.in_features, module.out_features)
    return None


def random_factors(
    shapes: dict[str, LinearShape],
    rank: int,
    scaling: float,
    generators: list[torch.Generator],
) -> dict[str, LowRank]:
    """Fresh factors for a stack of tasks, each task drawn from its own generator.

    A is uniform within +-1/sqrt(in) and B zero, as PEFT initializes them, so that the change
    starts at zero. What a task gets depends on its generator alone, not on its neighbors.

    Args:
        shapes: Module name to sizes.
        rank: Rank of every factor.
        scaling: Of every factor.
        generators: One for each task, on the CPU.

    Returns:
        float32 factors on the CPU, `A [task, rank, in]` and `B [task, out, rank]`.
    """
    factors = {}
    for name, shape in shapes.items():
        bound = shape.inputs**-0.5
        A = torch.stack([torch.rand(rank, shape.inputs, generator=g) for g in generators])
        B = torch.zeros(len(generators), shape.outputs, rank)
        factors[name] = LowRank((2 * A - 1) * bound, B, scaling)
    return factors
