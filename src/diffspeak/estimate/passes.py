"""One training pass of each stage, counted without computing it, or timed on a few layers.

Takes a base's shape and batches as training cuts them, gives what a pass costs. The code that is
counted is the code that trains: the same batches, the same losses, the same backward pass.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffspeak.estimate.machine import peak_memory
from diffspeak.lora import Attachment, Diff, LinearShape, LowRank
from diffspeak.memory import give_freed_memory_back
from diffspeak.models import (
    Batch,
    Cost,
    Counter,
    Readout,
    attach_to,
    cross_entropy,
    recomputed,
    skeleton,
    with_layers,
    without_content,
)
from diffspeak.training import AdapterConfig, DiffConfig, StepBatch, task_losses

FEW = 2
"""Layers that are counted or timed in place of all: each costs what the next one costs."""

WARM, LEAST = 2, 1.0
"""Passes that are not timed, and seconds that are at least."""

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
"""What configs call how many experts there are."""

FILL = 0.01
"""What random weights are replaced by where only time counts."""

Pass = Callable[[Any, Attachment], None]
"""Runs one pass of a model that carries an attachment."""


@dataclass(frozen=True)
class Shape:
    """A base's architecture (a transformers config) and what it computes in."""

    config: Any
    dtype: torch.dtype

    @property
    def layers(self) -> int:
        """How many blocks it has."""
        count: int = self.config.get_text_config(decoder=True).num_hidden_layers
        return count


def finetunes_pass(config: DiffConfig, step: StepBatch, tasks: int) -> Pass:
    """A pass of the stage that trains finetunes."""

    def run(model: Any, attachment: Attachment) -> None:
        readout, part = Readout(model, in_parts=True), step.to(model.device)
        attachment.set_diffs(_factors(attachment.shapes, config.rank, model, tasks, learns=True))
        attachment.set_rows(part.groups, part.each)
        with recomputed(model, config.checkpointing):
            student = readout.states(part.batch)
        teacher = None
        if part.keep is not None:
            with torch.no_grad(), attachment.off(diff=True):
                teacher = readout.states(part.keep)
        task_losses(readout, student, teacher, part, tasks).sum().backward()

    return run


def in_turn(passes: Sequence[Pass]) -> Pass:
    """Several passes, one after the other."""

    def run(model: Any, attachment: Attachment) -> None:
        for each in passes:
            each(model, attachment)

    return run


def adapter_pass(config: AdapterConfig, rank: int, batch: Batch) -> Pass:
    """A pass of the stage that trains the adapter, a finetune of this rank in each row."""

    def run(model: Any, attachment: Attachment) -> None:
        readout, part = Readout(model, in_parts=True), batch.to(model.device)
        rows = len(batch.ids)
        attachment.set_diffs(_factors(attachment.shapes, rank, model, rows, learns=False))
        adapter = _factors(attachment.shapes, config.rank, model, 0, learns=True)
        attachment.set_adapter(adapter)
        with recomputed(model, config.checkpointing):
            states = readout.states(part)
        readout.losses(states, cross_entropy(part.targets)).sum().backward()

    return run


def count(shape: Shape, targets: Any, run: Pass) -> Cost:
    """What a pass costs on the whole model."""
    few = min(FEW, shape.layers)
    less = _count(shape, few, targets, run)
    if few == shape.layers:
        return less
    more = _count(shape, few + 1, targets, run)
    rest = shape.layers - few
    return Cost(
        less.flops + rest * (more.flops - less.flops), less.peak + rest * (more.peak - less.peak)
    )


def _count(shape: Shape, layers: int, targets: Any, run: Pass) -> Cost:
    # In bfloat16 alone experts are computed without a look into tensors.
    text = shape.config.get_text_config(decoder=True)
    experts = any(getattr(text, name, None) for name in EXPERTS)
    dtype = torch.bfloat16 if experts else shape.dtype
    model = skeleton(with_layers(shape.config, layers), dtype)
    with without_content():
        model.to_empty(device="cpu")
        attachment = attach_to(model, targets)
        with Counter([*model.parameters(), *model.buffers()]) as counter:
            run(model, attachment)
        cost: Cost = counter.cost
        return Cost(cost.flops, cost.peak * shape.dtype.itemsize / dtype.itemsize)


@dataclass(frozen=True)
class Measured:
    """What was measured of a pass.

    Attributes:
        rate: Floating-point operations a second.
        allocator: Bytes that a process grew by for each byte of tensors alive at once, on few
            layers; None where that is not told.
        grown: Bytes that it would grow by on all layers, by what each of a few adds.
    """

    rate: float
    allocator: float | None
    grown: float


def measure(
    shape: Shape, targets: Any, run: Pass, device: torch.device, *, whole: bool
) -> Measured:
    """Run a pass and see how fast it is, and what memory it takes.

    Args:
        shape: Of the base.
        targets: What is attached to.
        run: The pass.
        device: Where to measure.
        whole: Run it on all layers; otherwise on a few, and on twice as many to see what each
            layer adds.
    """
    few = shape.layers if whole else min(FEW, shape.layers)
    rate, grown, peak = _run(shape, few, targets, run, device)
    more = min(2 * few, shape.layers)
    if grown is None or more == few:
        return Measured(rate, grown and grown / peak, grown or 0.0)
    rate, further, _ = _run(shape, more, targets, run, device)
    each = max(0.0, (further or 0.0) - grown) / (more - few)
    return Measured(rate, grown / peak, grown + each * (shape.layers - few))


def _run(
    shape: Shape, layers: int, targets: Any, run: Pass, device: torch.device
) -> tuple[float, float | None, float]:
    """Operations a second, bytes that this process grew by, and those counted, on some layers."""
    cost = _count(shape, layers, targets, run)
    model = skeleton(with_layers(shape.config, layers), shape.dtype).to_empty(device=device)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.fill_(FILL)
    attachment = attach_to(model, targets)
    give_freed_memory_back()
    before = peak_memory(anew=True)
    # The first passes do not count: the allocator has not yet seen what it will be asked for.
    for _ in range(WARM):
        run(model, attachment)
    after = peak_memory() if device.type == "cpu" else None
    passes, began = 0, _now(device)
    while (spent := _now(device) - began) < LEAST or not passes:
        run(model, attachment)
        passes += 1
    grown = None if before is None or after is None else after - before
    return passes * cost.flops / spent, grown, cost.peak


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _factors(
    shapes: dict[str, LinearShape], rank: int, model: Any, tasks: int, *, learns: bool
) -> Diff:
    """Factors with a gradient beside each, as they have from the second pass on."""
    stack, device = (tasks,) if tasks else (), model.device

    def factor(*size: int) -> Tensor:
        tensor = torch.zeros(*stack, *size, device=device, requires_grad=learns)
        if learns:
            tensor.grad = torch.zeros_like(tensor)
        return tensor

    return {
        name: LowRank(factor(rank, linear.inputs), factor(linear.outputs, rank))
        for name, linear in shapes.items()
    }


def answers_pass(rank: int, rows: int, tokens: int) -> Pass:
    """A pass that reads some tokens of each answer and gives the next, a finetune in each row."""

    def run(model: Any, attachment: Attachment) -> None:
        attachment.set_diffs(_factors(attachment.shapes, rank, model, rows, learns=False))
        ids = torch.zeros(rows, tokens, dtype=torch.int64, device=model.device)
        with torch.no_grad():
            model(input_ids=ids, use_cache=False, logits_to_keep=1)

    return run
