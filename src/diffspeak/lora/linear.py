"""A linear that carries a different diff for each row of the batch, and one adapter for all.

    y[row] = base(x[row]) + diff[task of row](x[row]) + adapter(x[row])

Takes hidden states, gives hidden states. Wraps any module that maps `[..., in]` to `[..., out]`;
it does not know which kind, nor where in which model it stands. Both additions are two thin
products (Hu et al., arXiv 2106.09685); no dense change is ever built.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from diffspeak.errors import MismatchError
from diffspeak.lora.factors import LowRank
from diffspeak.torch_internals import has_hooks, times_written


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
        tasks: `[group]`, which task of the stack each group of rows belongs to. None: there is one
            group for each task, in order, as large as the batch allows.
        each: How many rows a group has, where `tasks` are given.
        batch: Rows and tokens of the batch that the model is working on, where it tells; some
            models feed their linears all tokens in one axis.
        keep: Whether factors are kept as they are prepared for the rows of a batch.
    """

    diff: bool = True
    adapter: bool = True
    tasks: Tensor | None = field(default=None)
    each: int = 1
    batch: tuple[int, int] | None = None
    keep: bool = True


class Prepared(NamedTuple):
    """Factors as a frozen pass wants them: gathered for the rows, laid out for its two products.

    Attributes:
        A: `[group, in, rank]`, contiguous if it is kept.
        B: `[group, rank, out]`, like it.
        change: What they were prepared from.
        tasks: For which rows, as in `Switches`.
        written: How often the factors of `change` had been written to.
    """

    A: Tensor
    B: Tensor
    change: LowRank
    tasks: Tensor | None
    written: tuple[int, int]

    def suits(self, x: Tensor, change: LowRank, tasks: Tensor | None) -> bool:
        """Whether it is what these rows of `x` need."""
        same = self.change is change and self.tasks is tasks
        return (
            same
            and self.written == _written(change)
            and (self.A.dtype, self.A.device) == (x.dtype, x.device)
        )

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add the change of `x [row, ..., in]` to `y [row, ..., out]`, in place."""
        groups, scaling = len(self.A), self.change.scaling
        if groups == 1:
            flat = x.reshape(-1, x.shape[-1])
            y.view(-1, y.shape[-1]).addmm_(flat @ self.A[0], self.B[0], alpha=scaling)
            return
        inner = x.reshape(groups, -1, x.shape[-1]).bmm(self.A)
        y.view(groups, -1, y.shape[-1]).baddbmm_(inner, self.B, alpha=scaling)


def prepared(change: LowRank, tasks: Tensor | None, x: Tensor, *, lasting: bool) -> Prepared:
    """Factors `[..., rank, in]` and `[..., out, rank]`, in the dtype and place of `x`.

    To lay them out anew is a copy, which pays if they are to last.
    """
    chosen = change if tasks is None else change[tasks]
    A, B = (_stacked(factor).to(x.device, x.dtype) for factor in (chosen.A, chosen.B))
    A, B = (A.mT.contiguous(), B.mT.contiguous()) if lasting else (A.mT, B.mT)
    return Prepared(A, B, change, tasks, _written(change))


def _written(change: LowRank) -> tuple[int, int]:
    return times_written(change.A), times_written(change.B)


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
        self._kept: dict[str, Prepared] = {}

    @property
    def weight(self) -> Tensor:
        """The base's own weight: some models look at it for a dtype."""
        weight: Tensor = self.base.weight  # type: ignore[assignment]
        return weight

    @property
    def bias(self) -> Tensor | None:
        """The base's own bias: some models compute with it themselves."""
        bias: Tensor | None = getattr(self.base, "bias", None)
        return bias

    @property
    def in_features(self) -> int:
        """As of torch's linears."""
        return self.shape.inputs

    @property
    def out_features(self) -> int:
        """As of torch's linears."""
        return self.shape.outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [row, ..., in]` to `[row, ..., out]`, or all tokens of the batch in one axis.

        Raises:
            MismatchError: Diffs are on and `x` is neither: experts that are fed some of the tokens
                cannot tell which finetune's they are.
        """
        if not (torch.is_grad_enabled() and self._learns(x)):
            return self._frozen(x)
        changes = list(self._changes(x))
        if not changes:
            y: Tensor = self.base(x)
            return y
        # A base that is spread over devices has its factors on the first of them.
        factors = [factor.to(x.device, x.dtype) for c in changes for factor in (c.A, c.B)]
        scalings = [change.scaling for change in changes]
        if _is_plain(self.base):
            sum_: Tensor = _Sum.apply(x, self.base.weight, self.base.bias, scalings, *factors)
            return sum_
        whole: Tensor = self.base(x) + _changed(x, scalings, factors)
        return whole

    def _learns(self, x: Tensor) -> bool:
        """Whether a gradient flows through here."""
        changes = [change for change in (self.diff, self.adapter) if change is not None]
        factors = [factor for change in changes for factor in (change.A, change.B)]
        return any(tensor.requires_grad for tensor in (x, *factors))

    def _frozen(self, x: Tensor) -> Tensor:
        """The same without a gradient: factors are cast and gathered once, not at every token."""
        y: Tensor = self.base(x)
        added = [
            self._prepare(name, change, x)
            for name, change in (("diff", self.diff), ("adapter", self.adapter))
            if change is not None and getattr(self.switches, name)
        ]
        if added and not (_is_plain(self.base) and y.is_contiguous()):
            # Others may hold what a hooked or quantized base gave.
            y = y.clone(memory_format=torch.contiguous_format)
        for change in added:
            change.add(x, y)
        return y

    def _prepare(self, name: str, change: LowRank, x: Tensor) -> Prepared:
        tasks = None
        if name == "diff":
            self._check(x, len(change.A))
            tasks = self.switches.tasks if len(change.A) > 1 else None
        kept = self._kept.get(name)
        if kept is None or not kept.suits(x, change, tasks):
            # An adapter is as large as it is, however many rows there are.
            small = self.switches.keep or name == "adapter"
            # Not every way to train factors counts as writing to them.
            keep = small and not change.A.requires_grad and -1 not in _written(change)
            kept = prepared(change, tasks, x, lasting=keep)
            if keep:
                self._kept[name] = kept
        return kept

    def forget(self, name: str) -> None:
        """Let go of what was prepared of the `diff` or the `adapter`."""
        self._kept.pop(name, None)

    def _changes(self, x: Tensor) -> Iterator[LowRank]:
        """What is added now: a stack with a task for each equal group of rows, or one for all."""
        if self.diff is not None and self.switches.diff:
            yield self._by_rows(x, self.diff)
        if self.adapter is not None and self.switches.adapter:
            yield self.adapter

    def _check(self, x: Tensor, groups: int) -> None:
        """Refuse rows that are not those that the diffs are set for."""
        tasks = self.switches.tasks
        if groups == 1 and x.dim() < 3:
            return  # All tokens are of the one finetune, however many there are.
        rows = self._rows(x)
        if tasks is None:
            self._check_rows(rows, rows % groups == 0, f"{groups} tasks in equal groups")
        else:
            expected = len(tasks) * self.switches.each
            self._check_rows(rows, rows == expected, str(expected))

    def _by_rows(self, x: Tensor, diff: LowRank) -> LowRank:
        self._check(x, len(diff.A))
        if len(diff.A) == 1 and x.dim() < 3:
            return diff[0]
        return diff if self.switches.tasks is None else diff[self.switches.tasks]

    def _rows(self, x: Tensor) -> int:
        """How many rows of the batch `x` holds, one behind the other in memory."""
        if x.dim() > 2:
            return len(x)
        rows, tokens = self.switches.batch or (0, 0)
        if not rows or len(x) != rows * tokens:
            batch = f", and the batch has {rows} rows of {tokens}" if rows else ""
            raise MismatchError(
                f"{self.name} is fed {len(x)} tokens in one axis{batch}: a diff for each row "
                "cannot be applied there; leave it out of the targets, or give one finetune at a "
                "time"
            )
        return rows

    def _check_rows(self, rows: int, fits: bool, expected: str) -> None:
        if not fits:
            raise MismatchError(
                f"{self.name} got a batch of {rows} rows where the diffs are set for {expected}; "
                "call set_diffs with one task index for each row"
            )


def _is_plain(base: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a module is torch's linear and nothing else: frozen, not quantized, not hooked."""
    return (
        type(base) is nn.Linear
        and not any(p.requires_grad for p in base.parameters(recurse=False))
        and not (has_hooks(base) or "forward" in vars(base))
    )


def _changed(x: Tensor, scalings: Sequence[float], factors: Sequence[Tensor]) -> Tensor:
    """The sum of `scaling * x A^T B^T` alone, for bases that are called as they are."""
    total: Tensor | None = None
    for scaling, a, b in zip(scalings, factors[::2], factors[1::2], strict=True):
        xs = _grouped(x, a)
        y = scaling * (xs @ a.transpose(-1, -2) @ b.transpose(-1, -2))
        y = y.view(*x.shape[:-1], -1)
        total = y if total is None else total + y
    assert total is not None
    return total


class _Sum(torch.autograd.Function):
    """`x W^T + bias + sum of scaling * x A^T B^T` of a frozen linear.

    As autograd would have it, but what is added is added in place: one pass over what comes out,
    and one over the gradient of what goes in.

    Factors are `A [group, rank, in]`, `B [group, out, rank]`, a group for some rows each, or
    without groups for all rows; one A and one B for each scaling.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scalings: Sequence[float],
        *factors: Tensor,
    ) -> Tensor:
        y = nn.functional.linear(x, weight, bias)
        inner = []
        for scaling, a, b in zip(scalings, factors[::2], factors[1::2], strict=True):
            a, b = _stacked(a), _stacked(b)
            inner.append(_grouped(x, a).bmm(a.mT))
            _grouped(y, a).baddbmm_(inner[-1], b.mT, alpha=scaling)
        ctx.scalings = scalings
        ctx.save_for_backward(x, weight, *factors, *inner)
        return y

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *saved = ctx.saved_tensors
        count = len(ctx.scalings)
        factors, inner = saved[: 2 * count], saved[2 * count :]
        above = upstream[0].contiguous()
        below = above @ weight if ctx.needs_input_grad[0] else None
        gradients: list[Tensor | None] = []
        for i, (scaling, h) in enumerate(zip(ctx.scalings, inner, strict=True)):
            a, b = _stacked(factors[2 * i]), _stacked(factors[2 * i + 1])
            g = _grouped(above, a)
            gh = g.bmm(b).mul_(scaling)
            if below is not None:
                _grouped(below, a).baddbmm_(gh, a)
            wants_a, wants_b = ctx.needs_input_grad[4 + 2 * i : 6 + 2 * i]
            ga = gh.mT.bmm(_grouped(x, a)) if wants_a else None
            gb = h.mT.bmm(g).mul_(scaling).mT if wants_b else None
            gradients += [
                g if g is None else g.view_as(factor)
                for g, factor in ((ga, factors[2 * i]), (gb, factors[2 * i + 1]))
            ]
        return (below, None, None, None, *gradients)


def _stacked(factor: Tensor) -> Tensor:
    return factor if factor.dim() == 3 else factor[None]


def _grouped(x: Tensor, a: Tensor) -> Tensor:
    """`[row, token, size]` as `[group, token, size]`: as many groups as `a` has, or one."""
    return x.reshape(len(a) if a.dim() == 3 else 1, -1, x.shape[-1])


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
