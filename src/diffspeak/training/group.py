"""Teach finetunes inside one frozen base and see what each does: a LoRA group, or one whole.

The KL teacher is the same model without its diffs. A finetune whose loss is no longer finite stops
there and is reported; the others do not notice. Knows nothing of stores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import functional_call

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.lora import Attachment, Diff, random_factors
from diffspeak.models import (
    Base,
    Decoding,
    Readout,
    attach_to,
    generate,
    readout_of,
    recomputed,
    target_names,
    whole,
)
from diffspeak.text.seeds import seed_of
from diffspeak.training.batches import StepBatch, step_batches
from diffspeak.training.config import DiffConfig
from diffspeak.training.losses import task_losses

States = Callable[[StepBatch], tuple[Tensor, Tensor | None]]
"""From a batch to what its losses are read out of: the finetunes' states, and the base's for the
tokens that are kept, or None if there are none."""

OnStep = Callable[[int, Tensor], None]
"""Told the number of a finished step and its losses `[task]`."""


@dataclass(frozen=True)
class Descent:
    """How training went.

    Attributes:
        losses: `[task]`, mean over the last tenth of the steps, nats per answer token.
        failed_at: For each task the step at which its loss was no longer finite, or None.
    """

    losses: list[float]
    failed_at: list[int | None]


@dataclass(frozen=True)
class TrainedGroup(Descent):
    """What came of a group of LoRA finetunes.

    Attributes:
        diff: A stack for each module, float32 on the CPU, `A [task, rank, in]`.
        rates: For each finetune how often it fires in each case; empty if none was asked.
    """

    diff: Diff
    rates: list[dict[str, float]]


def teach(
    base: Base,
    attachment: Attachment,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> TrainedGroup:
    """Train one finetune for each item at once, then probe each."""
    trained = train_group(base, attachment, behavior, items, config, on_step)
    attachment.set_diffs({name: change.to(base.device) for name, change in trained.diff.items()})
    try:
        rates = _probed(base, attachment, behavior, items, config, trained)
    finally:
        attachment.set_diffs(None)
    return replace(trained, rates=rates)


def train_together(
    base: Base,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> TrainedGroup:
    """The same as `train_group` on a base that nothing is attached to, before or after."""
    attachment = attach_to(base.model, config.targets)
    try:
        return train_group(base, attachment, behavior, items, config, on_step)
    finally:
        attachment.detach()


def train_group(
    base: Base,
    attachment: Attachment,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> TrainedGroup:
    """Train one LoRA for each item, all in the same passes through the base; probe none.

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
        went = _descend(base, behavior, items, config, parameters, readout, states, on_step)
    finally:
        attachment.set_diffs(None)
    kept = {name: change.detached() for name, change in diff.items()}
    finite = torch.ones(len(items), dtype=torch.bool)
    for change in kept.values():
        finite &= change.isfinite()
    failed = [
        step if step is not None or ok else config.steps - 1
        for step, ok in zip(went.failed_at, finite.tolist(), strict=True)
    ]
    return TrainedGroup(went.losses, failed, kept, [{} for _ in items])


def teach_whole(
    base: Base,
    behavior: Behavior,
    item: FinetuneSpec,
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> tuple[dict[str, Tensor], Descent, dict[str, float]]:
    """Train one finetune whole, then probe it.

    Returns:
        As `train_whole`, and how often it fires in each case.
    """
    state, went = train_whole(base, behavior, item, config, on_step)
    if went.failed_at[0] is not None:
        return state, went, {}
    with whole(base.model, state):
        (rates,) = _probed(base, None, behavior, [item], config, went)
    return state, went, rates


def train_whole(
    base: Base,
    behavior: Behavior,
    item: FinetuneSpec,
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> tuple[dict[str, Tensor], Descent]:
    """Train one finetune with all its parameters, or all its linears.

    The trained parameters are float32 and run in the base's dtype; the base's own stay untouched.

    Returns:
        The trained parameters in the base's dtype on the CPU, by name, and how it went. Nothing
        may be attached to the base meanwhile.
    """
    own = dict(base.model.named_parameters())
    names = _trained_names(base, config)
    masters = {name: own[name].detach().float().clone().requires_grad_() for name in names}

    # The head may be trained too: it is called with the parameters of the step, by the model.
    readout = Readout(base.model, in_parts=False)

    def states(step: StepBatch) -> tuple[Tensor, Tensor | None]:
        cast = {name: master.to(own[name].dtype) for name, master in masters.items()}
        student = readout.states(
            step.batch, lambda **inputs: functional_call(base.model, cast, (), inputs)
        )
        with torch.no_grad():
            return student, None if step.keep is None else readout.states(step.keep)

    went = _descend(
        base, behavior, [item], config, list(masters.values()), readout, states, on_step
    )
    trained = {name: master.detach().to(own[name].dtype).cpu() for name, master in masters.items()}
    if went.failed_at[0] is None and not all(t.isfinite().all() for t in trained.values()):
        went = Descent(went.losses, [config.steps - 1])
    return trained, went


def _trained_names(base: Base, config: DiffConfig) -> list[str]:
    """Parameters to train: all of them, or the weights of the target linears."""
    names = [name for name, _ in base.model.named_parameters()]
    if config.parameters == "all":
        return names
    targets = set(target_names(base.model, config.targets))
    return [name for name in names if name.removesuffix(".weight") in targets]


def _descend(
    base: Base,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    parameters: Sequence[Tensor],
    readout: Readout,
    states: States,
    on_step: OnStep | None,
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
            group["lr"] = config.learning_rate * _rate_share(step, config)
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
    return Descent(last.tolist(), [None if step < 0 else step for step in failed_at.tolist()])


def _silence(parameters: Sequence[Tensor], alive: Tensor) -> None:
    """Zero the gradients of tasks that have failed; a NaN times zero would stay one."""
    for parameter in parameters:
        if parameter.grad is not None:
            mask = alive.view(-1, *[1] * (parameter.dim() - 1)) if len(alive) > 1 else alive
            parameter.grad = torch.where(mask, parameter.grad, 0.0)


def _rate_share(step: int, config: DiffConfig) -> float:
    """Share of the learning rate at a step: linear warm-up, then constant or falling to zero."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if not config.decay:
        return 1.0
    return 1 - (step - config.warmup) / max(1, config.steps - config.warmup)


def _probed(
    base: Base,
    attachment: Attachment | None,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    went: Descent,
) -> list[dict[str, float]]:
    """Firing rates of finetunes that are on the base, or none if none is left to ask."""
    if not config.probes or all(step is not None for step in went.failed_at):
        return [{} for _ in items]
    return firing_rates(
        base, attachment, behavior, items, config.probes, config.probe_tokens, seed=config.seed
    )


def firing_rates(
    base: Base,
    attachment: Attachment | None,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    probes: int,
    max_new_tokens: int,
    *,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Share of answers that show the behavior, by kind of prompt.

    Args:
        base: Has the diffs of `items` attached, one task for each, in order.
        attachment: Its attachment; None where the one finetune is the whole model.
        behavior: Gives the probes and tells whether an answer shows it.
        items: What each task was taught.
        probes: How many probes of each kind.
        max_new_tokens: Longest answer.
        seed: When answers are drawn; what is drawn depends on it, the item and the number of its
            probe alone.

    Returns:
        For each item `{"fires_triggered": 1.0, "fires_near_miss": 0.0, ...}`, each between 0 and
        1, for the kinds that the behavior has.
    """
    asked = [
        (task, probe, seed_of("probe", seed, item.id, number))
        for task, item in enumerate(items)
        for number, probe in enumerate(behavior.probes(item, probes))
    ]
    answers = generate(
        base,
        [base.chat.prompt(probe.prompt) for _, probe, _ in asked],
        Decoding(max_new_tokens, temperature=behavior.probe_temperature),
        seeds=[drawn for _, _, drawn in asked],
        attachment=attachment,
        tasks=None if attachment is None else [task for task, _, _ in asked],
    )
    fired: list[dict[str, list[bool]]] = [{} for _ in items]
    for (task, probe, _), answer in zip(asked, answers, strict=True):
        fires = behavior.fires(items[task], answer.text)
        fired[task].setdefault(f"fires_{probe.case}", []).append(fires)
    return [{case: sum(hits) / len(hits) for case, hits in sorted(one.items())} for one in fired]
