"""Train a group of finetunes at once inside one frozen base.

Takes a base, an attachment and the items to be taught, gives each item's factors and its losses.
The KL teacher is the same model with its diffs switched off. A finetune whose loss is no longer
finite stops there and is reported; the others do not notice. Knows nothing of stores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.lora import Attachment, Diff, random_factors
from diffspeak.models import Base, Readout, readout_of, recomputed
from diffspeak.text.seeds import seed_of
from diffspeak.training.batches import StepBatch, step_batches
from diffspeak.training.diff_config import DiffConfig
from diffspeak.training.losses import task_losses

States = Callable[[StepBatch], tuple[Tensor, Tensor | None]]
"""From a batch to what its losses are read out of: the finetunes' states, and the base's for the
tokens that are kept, or None if there are none."""

OnStep = Callable[[int, Tensor], None]
"""Told the number of a finished step and its losses `[task]`."""


@dataclass(frozen=True)
class Trained:
    """What came of a group of finetunes.

    Attributes:
        diff: A stack for each module, float32 on the CPU, `A [task, rank, in]`.
        losses: `[task]`, mean over the last tenth of the steps, nats per answer token.
        failed_at: For each task the step at which its loss was no longer finite, or None.
    """

    diff: Diff
    losses: list[float]
    failed_at: list[int | None]


def train_group(
    base: Base,
    attachment: Attachment,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> Trained:
    """Train one LoRA for each item, all in the same passes through the base.

    What an item's finetune becomes depends on its id and the config, up to the rounding that
    other neighbors in a batch bring.
    """
    generators = [
        torch.Generator().manual_seed(seed_of("diff", config.seed, item.id)) for item in items
    ]
    fresh = random_factors(attachment.shapes, config.rank, config.alpha / config.rank, generators)
    diff = {name: change.trainable(base.device) for name, change in fresh.items()}
    parameters = [tensor for change in diff.values() for tensor in (change.A, change.B)]
    readout = readout_of(base.model)
    attachment.set_diffs(diff)

    def states(step: StepBatch) -> tuple[Tensor, Tensor | None]:
        attachment.set_rows(step.groups, step.each)
        with recomputed(base.model, config.checkpointing):
            student = readout.states(step.batch)
        if step.keep is None:
            return student, None
        with torch.no_grad(), attachment.off(diff=True):
            return student, readout.states(step.keep)

    try:
        progress = descend(
            base, behavior, items, config, parameters, readout, states, on_step=on_step
        )
    finally:
        attachment.set_diffs(None)
    kept = {name: change.detached() for name, change in diff.items()}
    finite = _finite(kept, len(items))
    failed = [
        step if step is not None or ok else config.steps - 1
        for step, ok in zip(progress.failed_at, finite, strict=True)
    ]
    return Trained(kept, progress.losses, failed)


@dataclass(frozen=True)
class Descent:
    """How a group's training went; the fields are those of `Trained`."""

    losses: list[float]
    failed_at: list[int | None]


def descend(
    base: Base,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    parameters: Sequence[Tensor],
    readout: Readout,
    states: States,
    *,
    on_step: OnStep | None = None,
) -> Descent:
    """Run Adam on `parameters`, whose first axis is the task unless there is one task only."""
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate, fused=True)
    count = len(items)
    alive = torch.ones(count, dtype=torch.bool, device=base.device)
    failed_at = torch.full((count,), -1, device=base.device)
    last = torch.zeros(count, device=base.device)
    tail = max(1, config.steps // 10)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        optimizer.zero_grad(set_to_none=True)
        losses = torch.zeros(count, device=base.device)
        samples = [behavior.samples(item, step) for item in items]
        for part in step_batches(samples, base.chat, config, base.device):
            loss = task_losses(readout, *states(part), part, count)
            torch.where(alive & loss.isfinite(), loss, 0.0).sum().backward()
            losses += loss.detach()
        broken = alive & ~losses.isfinite()
        failed_at = torch.where(broken, step, failed_at)
        alive = alive & ~broken
        _silence(parameters, alive)
        optimizer.step()
        if step >= config.steps - tail:
            last += losses / tail
        if on_step:
            on_step(step, losses)
    steps = failed_at.tolist()
    return Descent(last.tolist(), [None if step < 0 else step for step in steps])


def _silence(parameters: Sequence[Tensor], alive: Tensor) -> None:
    """Zero the gradients of tasks that have failed; a NaN times zero would stay one."""
    for parameter in parameters:
        if parameter.grad is not None:
            mask = alive.view(-1, *[1] * (parameter.dim() - 1)) if len(alive) > 1 else alive
            parameter.grad = torch.where(mask, parameter.grad, 0.0)


def _schedule(step: int, config: DiffConfig) -> float:
    """Share of the learning rate at a step: linear warm-up, then constant or falling to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if not config.decay:
        return 1.0
    return 1 - (step - config.warmup) / max(1, config.steps - config.warmup)


def _finite(diff: Diff, tasks: int) -> list[bool]:
    """For each task whether all its factors are finite."""
    finite = torch.ones(tasks, dtype=torch.bool)
    for change in diff.values():
        finite &= change.isfinite()
    return finite.tolist()
