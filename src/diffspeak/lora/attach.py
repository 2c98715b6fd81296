"""Wrap the target linears of a model once; then set, swap and switch diffs and adapter.

Takes any torch model and the names of its linears, gives an `Attachment`. What counts as a linear
is told by a function (`linear_shape`, or one that knows more kinds); transformers is not known
here. The model itself is never changed but for the wrapping, and `detach` undoes that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from diffspeak.errors import MismatchError, UsageError
from diffspeak.lora.factors import Diff, LowRank
from diffspeak.lora.linear import DiffLinear, LinearShape, Switches, linear_shape

KEPT_BYTES = 1 << 30
"""Of factors that are kept as they are prepared for a batch's rows."""

ShapeOf = Callable[[nn.Module], LinearShape | None]


class Attachment:
    """The wrapped linears of one model, by full module name.

    Made by `attach`. Nothing is added until `set_diffs` or `set_adapter` is called.
    """

    def __init__(
        self,
        model: nn.Module,
        linears: dict[str, DiffLinear],
        switches: Switches,
        entrance: nn.Module | None = None,
    ) -> None:
        self.model = model
        self.linears = linears
        self._switches = switches
        self._hook: RemovableHandle | None = None
        if entrance is not None:
            self._hook = entrance.register_forward_pre_hook(self._enter, with_kwargs=True)

    def _enter(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note how large the batch is that comes in, `[row, token, ...]`."""
        given = (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args[:1])
        shapes = [each.shape for each in given if isinstance(each, Tensor) and each.dim() > 1]
        self._switches.batch = (shapes[0][0], shapes[0][1]) if shapes else None

    @property
    def shapes(self) -> dict[str, LinearShape]:
        """Sizes of each wrapped linear."""
        return {name: linear.shape for name, linear in self.linears.items()}

    def set_diffs(self, diffs: Diff | None, tasks: Tensor | None = None) -> None:
        """Give each row of the coming batches its diff.

        Args:
            diffs: A stack for each module, `A [task, rank, in]`, `B [task, out, rank]`; modules
                left out stay the base's. None takes all diffs off.
            tasks: `[row]`, which task each row belongs to. None: rows come in equal groups, task
                by task (one row each if there are as many rows as tasks).

        Raises:
            MismatchError: A module is unknown, a shape does not fit its linear, or modules carry
                different numbers of tasks.
        """
        _check(self.shapes, diffs or {}, stacked=True)
        _check_counts(diffs or {})
        for name, linear in self.linears.items():
            linear.diff = None if diffs is None else diffs.get(name)
        self.set_rows(tasks)

    def set_rows(self, tasks: Tensor | None, each: int = 1) -> None:
        """Change which task each row belongs to, and leave the diffs as they are.

        Args:
            tasks: As for `set_diffs`; or `[group]`, if several rows of a task lie together.
            each: How many rows each group has.
        """
        self._switches.tasks, self._switches.each = tasks, each
        self._renew()

    def _renew(self) -> None:
        """Let factors prepared for other rows go; keep the next if those of all linears fit."""
        changes = [linear.diff for linear in self.linears.values() if linear.diff is not None]
        groups = max((len(change.A) for change in changes), default=0)
        tasks = self._switches.tasks
        # A single finetune's factors serve all rows as they are.
        count = groups if tasks is None or groups == 1 else len(tasks)
        each = sum(change.A[0].numel() + change.B[0].numel() for change in changes)
        self._switches.keep = 4 * count * each <= KEPT_BYTES
        if groups != 1:
            for linear in self.linears.values():
                linear.forget("diff")

    def set_adapter(self, adapter: Diff | None) -> None:
        """Put one change on all rows, `A [rank, in]`, `B [out, rank]`; None takes it off.

        Raises:
            MismatchError: A module is unknown, or a shape does not fit its linear.
        """
        _check(self.shapes, adapter or {}, stacked=False)
        for name, linear in self.linears.items():
            linear.adapter = None if adapter is None else adapter.get(name)
            linear.forget("adapter")

    @contextmanager
    def off(self, *, diff: bool = False, adapter: bool = False) -> Iterator[None]:
        """Within this context leave out the diffs, the adapter or both."""
        before = (self._switches.diff, self._switches.adapter)
        self._switches.diff = before[0] and not diff
        self._switches.adapter = before[1] and not adapter
        try:
            yield
        finally:
            self._switches.diff, self._switches.adapter = before

    def detach(self) -> None:
        """Put the plain linears back; the attachment is empty afterwards."""
        for name, linear in self.linears.items():
            _replace(self.model, name, linear.base)
        self.linears = {}
        if self._hook is not None:
            self._hook.remove()


def attach(
    model: nn.Module,
    names: Iterable[str],
    shape_of: ShapeOf = linear_shape,
    entrance: nn.Module | None = None,
) -> Attachment:
    """Wrap the named linears of a model.

    Args:
        model: Any torch model.
        names: Full module names, for example from `select`.
        shape_of: Tells a linear's sizes, or None for what is not one.
        entrance: Through which every batch comes, as `input_ids [row, token]` or
            `inputs_embeds [row, token, ...]`. Needed where linears are fed all tokens in one axis.

    Raises:
        UsageError: No names, a name that is not in the model or not a linear, or a linear that is
            wrapped already.
    """
    switches, linears = Switches(), {}
    modules = dict(model.named_modules())
    for name in names:
        module = modules.get(name)
        parent = modules.get(name.rpartition(".")[0])
        if isinstance(module, DiffLinear) or isinstance(parent, DiffLinear):
            raise UsageError(f"cannot attach to {name}: it is attached already; detach it first")
        shape = None if module is None else shape_of(module)
        if module is None or shape is None:
            what = "is not in the model" if module is None else f"is a {type(module).__name__}"
            raise UsageError(f"cannot attach to {name}: it {what}, not a linear; name a linear")
        linears[name] = DiffLinear(module, shape, switches, name)
    if not linears:
        raise UsageError("nothing to attach to: no linear of the model was named")
    for name, linear in linears.items():
        _replace(model, name, linear)
    return Attachment(model, linears, switches, entrance)


def select(
    model: nn.Module,
    *,
    within: str = "",
    suffixes: Iterable[str] | None = None,
    shape_of: ShapeOf = linear_shape,
) -> list[str]:
    """Name the linears of a model in the model's own order.

    Args:
        model: Any torch model.
        within: Only what stands below this module, for example `model.layers`.
        suffixes: Only names whose last parts are one of these (`q_proj`, `mlp.up_proj`).
            None: every linear.
        shape_of: Tells what counts as a linear.

    Raises:
        UsageError: A suffix that no linear has.
    """
    prefix = f"{within}." if within else ""
    names = [
        name
        for name, module in model.named_modules()
        if name.startswith(prefix) and shape_of(module) is not None
    ]
    if suffixes is None:
        return names
    wanted = list(suffixes)
    unused = [s for s in wanted if not any(_ends_with(name, s) for name in names)]
    if unused:
        known = sorted({name.rsplit(".", 1)[-1] for name in names})
        raise UsageError(
            f"no linear of the model is called {', '.join(unused)}; there are {', '.join(known)}"
        )
    return [name for name in names if any(_ends_with(name, suffix) for suffix in wanted)]


def _ends_with(name: str, suffix: str) -> bool:
    return f".{name}".endswith(f".{suffix}")


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _check(shapes: Mapping[str, LinearShape], diff: Diff, *, stacked: bool) -> None:
    """Refuse a diff that does not fit: nothing of it may be silently left out."""
    unknown = [name for name in diff if name not in shapes]
    if unknown:
        raise MismatchError(
            f"{len(unknown)} modules of the diff are not attached in this model "
            f"({', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}); "
            "use the base and the targets it was made for"
        )
    for name, change in diff.items():
        _check_shape(name, shapes[name], change, stacked=stacked)


def _check_counts(diffs: Diff) -> None:
    """Refuse stacks of different heights: rows would belong to other tasks in each module."""
    counts = {name: len(change.A) for name, change in diffs.items()}
    first = next(iter(counts), "")
    for name, count in counts.items():
        if count != counts[first]:
            raise MismatchError(
                f"the diff of {name} is of {count} tasks and that of {first} of {counts[first]}; "
                "stack whole diffs with stack_diffs"
            )


def _check_shape(name: str, shape: LinearShape, change: LowRank, *, stacked: bool) -> None:
    found = (change.A.shape[-1], change.B.shape[-2])
    if found != (shape.inputs, shape.outputs) or change.is_stack != stacked:
        raise MismatchError(
            f"the diff of {name} maps {found[0]} to {found[1]} "
            f"{'with' if change.is_stack else 'without'} a task axis; the linear maps "
            f"{shape.inputs} to {shape.outputs} and {'takes' if stacked else 'has no'} task axis"
        )
