"""The stage: train finetunes group by group into a store, check each, resume where it stopped.

Takes a base, a behavior and its items, gives a store. A group is trained at once and becomes one
shard; full finetunes are trained singly. The same call after an interruption goes on behind the
last finished shard and ends with the same bytes.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffspeak.behaviors import Behavior, Item
from diffspeak.diffs.check import firing_rates
from diffspeak.diffs.config import DiffConfig
from diffspeak.diffs.full import train_full
from diffspeak.diffs.train import Trained, train_group
from diffspeak.errors import MismatchError
from diffspeak.lora import Attachment, LowRank
from diffspeak.models import Base, attach_to, target_names, whole
from diffspeak.progress import Reporter, Silent
from diffspeak.store import NewEntry, Store, StoreHeader, StoreWriter, create_or_resume, open_store

STAGE = "diffs"


def train_diffs(
    base: Base,
    behavior: Behavior,
    items: Sequence[Item],
    config: DiffConfig,
    folder: str | Path,
    reporter: Reporter | None = None,
) -> Store:
    """Train a finetune for each item and store it.

    Args:
        base: Frozen; nothing is attached to it before or after.
        behavior: What is taught.
        items: The finetunes to make, in order; those in the store already are left out.
        config: How they are trained.
        folder: The store's folder, new or begun with the same base, behavior and config.
        reporter: Told about progress.

    Raises:
        MismatchError: The folder holds a store of another base, behavior or config, or one begun
            with other machine choices (dtype, attention) than the base is loaded with.
    """
    reporter = reporter or Silent()
    with create_or_resume(folder, _header(base, behavior, config)) as writer:
        _same_choices(folder, writer.choices, base)
        todo = [item for item in items if item.id not in writer.done]
        reporter.begin(STAGE, len(items), "finetunes", done=len(items) - len(todo))
        stage = _Stage(base, behavior, config, writer, reporter, len(items) - len(todo))
        stage.run(todo)
        reporter.end()
    return open_store(folder)


class _Stage:
    """One call of `train_diffs` on its way."""

    def __init__(
        self,
        base: Base,
        behavior: Behavior,
        config: DiffConfig,
        writer: StoreWriter,
        reporter: Reporter,
        done: int,
    ) -> None:
        self.base, self.behavior, self.config = base, behavior, config
        self.writer, self.reporter, self.done = writer, reporter, done

    def run(self, items: Sequence[Item]) -> None:
        """Train and store what is left to do."""
        if self.config.parameters != "lora":
            for item in items:
                self._full(item)
            return
        attachment = attach_to(self.base.model, self.config.targets)
        try:
            for start in range(0, len(items), self.config.tasks):
                self._group(attachment, items[start : start + self.config.tasks])
        finally:
            attachment.detach()

    def _group(self, attachment: Attachment, items: Sequence[Item]) -> None:
        trained = train_group(
            self.base, attachment, self.behavior, items, self.config, self._watch(len(items))
        )
        stack = {name: change.to(self.base.device) for name, change in trained.diff.items()}
        attachment.set_diffs(stack)
        rates = self._rates(attachment, items, trained.failed_at)
        attachment.set_diffs(None)
        entries = _entries(self.behavior, items, trained.losses, trained.failed_at, rates)
        self.writer.write_shard(entries, _factors(trained))
        self._report(entries)

    def _full(self, item: Item) -> None:
        state, descent = train_full(self.base, self.behavior, item, self.config, self._watch(1))
        in_place: AbstractContextManager[None] = (
            whole(self.base.model, state) if descent.failed_at[0] is None else nullcontext()
        )
        with in_place:
            rates = self._rates(None, [item], descent.failed_at)
        (entry,) = _entries(self.behavior, [item], descent.losses, descent.failed_at, rates)
        self.writer.write_full(entry, state)
        self._report([entry])

    def _rates(
        self,
        attachment: Attachment | None,
        items: Sequence[Item],
        failed_at: Sequence[int | None],
    ) -> list[dict[str, float]]:
        if not self.config.probes or all(step is not None for step in failed_at):
            return [{} for _ in items]
        return firing_rates(
            self.base,
            attachment,
            self.behavior,
            items,
            self.config.probes,
            self.config.probe_tokens,
        )

    def _watch(self, tasks: int) -> Callable[[int, Tensor], None]:
        """Log the mean loss now and then; reading it waits for the device, so not every step."""
        every = max(1, self.config.steps // 20)
        began = time.monotonic()

        def on_step(step: int, losses: Tensor) -> None:
            if (step + 1) % every and step + 1 < self.config.steps:
                return
            finite = losses[losses.isfinite()]
            number = self.done * self.config.steps + (step + 1) * tasks
            self.reporter.log(STAGE, number, loss=finite.mean().item() if len(finite) else 0.0)
            rate = (step + 1) * tasks / (time.monotonic() - began)
            self.reporter.advance(0, step=step + 1, task_steps_per_second=rate)

        return on_step

    def _report(self, entries: Sequence[NewEntry]) -> None:
        self.done += len(entries)
        failed = [entry for entry in entries if entry.failed]
        for entry in failed:
            self.reporter.say(f"{entry.id} failed and is recorded as such: {entry.failed}")
        rates = _mean_rates(entries)
        if rates:
            self.reporter.log("check", self.done, **rates)
        self.reporter.advance(len(entries), **rates)


def _header(base: Base, behavior: Behavior, config: DiffConfig) -> StoreHeader:
    low_rank = config.parameters == "lora"
    return StoreHeader(
        behavior=behavior.describe(),
        base={"name": base.name, **base.fingerprint.to_dict()},
        targets=tuple(target_names(base.model, config.targets)),
        rank=config.rank if low_rank else 0,
        scaling=config.alpha / config.rank if low_rank else 1.0,
        dtype="float32" if low_rank else base.choices["dtype"],
        settings=config.model_dump(mode="json"),
        choices=base.choices,
    )


def _same_choices(folder: str | Path, chosen: dict[str, Any], base: Base) -> None:
    """Take up the thread count of the first start; refuse another dtype or attention."""
    if base.device.type == "cpu" and chosen.get("threads"):
        torch.set_num_threads(chosen["threads"])
    for key in ("device", "dtype", "attention"):
        if chosen.get(key) != base.choices[key]:
            raise MismatchError(
                f"{folder} was begun with {key} {chosen.get(key)}, and the base is now loaded with "
                f"{base.choices[key]}; load it with {key}={chosen.get(key)} to go on"
            )


def _factors(trained: Trained) -> dict[str, tuple[Tensor, Tensor]]:
    def plain(change: LowRank) -> tuple[Tensor, Tensor]:
        return change.A, change.B

    return {name: plain(change) for name, change in trained.diff.items()}


def _entries(
    behavior: Behavior,
    items: Sequence[Item],
    losses: Sequence[float],
    failed_at: Sequence[int | None],
    rates: Sequence[dict[str, float]],
) -> list[NewEntry]:
    return [
        NewEntry(
            id=item.id,
            label=item.label,
            trigger=item.trigger,
            split=item.split,
            category=item.category,
            behavior=behavior.name,
            failed=None if step is None else f"the loss was not finite at step {step}",
            stats={} if step is not None else {"loss": loss, **rate},
        )
        for item, loss, step, rate in zip(items, losses, failed_at, rates, strict=True)
    ]


def _mean_rates(entries: Sequence[NewEntry]) -> dict[str, float]:
    """Mean firing rates over the finetunes that did not fail."""
    sums: dict[str, list[float]] = {}
    for entry in entries:
        for name, value in entry.stats.items():
            if name.startswith("fires_"):
                sums.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in sorted(sums.items())}
