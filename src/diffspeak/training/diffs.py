"""Train finetunes group by group into a store, check each, resume where it stopped.

A group is trained at once and becomes one shard; on a CPU several groups may be trained side by
side. Whole finetunes are trained singly. The same call after an interruption goes on behind the
last finished shard and ends with the same bytes.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.errors import MismatchError, UsageError
from diffspeak.models import Base, attach_to, check_answer, check_rank, target_names
from diffspeak.progress import Reporter, Silent
from diffspeak.store import NewEntry, Store, StoreHeader, StoreWriter, create_or_resume, open_store
from diffspeak.training.config import DiffConfig
from diffspeak.training.group import Descent, OnStep, TrainedGroup, teach, teach_whole
from diffspeak.training.worker_pool import processes_for, teach_all

STAGE = "diffs"


def train_diffs(
    base: Base,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    folder: str | Path,
    reporter: Reporter | None = None,
    processes: int | None = 1,
) -> Store:
    """Train a finetune for each item and store it.

    Args:
        base: Frozen; nothing is attached to it before or after.
        behavior: What is taught.
        items: The finetunes to make, in order; those in the store already are left out.
        config: How they are trained.
        folder: The store's folder, new or begun with the same base, behavior and config.
        reporter: Told about progress.
        processes: Groups trained side by side, on a CPU; None for as many as pay. More than one
            need a script whose main program is guarded (`if __name__ == "__main__":`).

    Raises:
        UsageError: Several processes for a base that is not on the CPU, or for full finetunes; or
            the config does not fit the base.
        MismatchError: The folder holds a store of another base, behavior or config, or one begun
            with other machine choices (dtype, attention) than the base is loaded with.
    """
    check_diffs(base, config)
    reporter = reporter or Silent()
    whole_ones = config.parameters != "lora"
    if processes not in (None, 1) and (whole_ones or base.device.type != "cpu"):
        raise UsageError("several processes train LoRA finetunes on a CPU only: use one")
    groups = 1 if whole_ones else math.ceil(len(items) / config.tasks)
    side_by_side = processes or processes_for(base, groups)
    threads = max(1, torch.get_num_threads() // side_by_side)
    with create_or_resume(folder, _header(base, behavior, config, threads)) as writer:
        _same_choices(folder, writer.choices, base)
        todo = [item for item in items if item.id not in writer.done]
        reporter.begin(STAGE, len(items), "finetunes", done=len(items) - len(todo))
        stage = _Stage(base, behavior, config, writer, reporter, len(items) - len(todo))
        # The threads that a group was begun with decide its last bits, the processes do not.
        threads = writer.choices.get("threads") or threads
        if processes is None and side_by_side > 1:
            side_by_side = max(1, torch.get_num_threads() // threads)
        if whole_ones:
            stage.whole_ones(todo)
        else:
            stage.groups(todo, side_by_side, threads)
        reporter.end()
    return open_store(folder)


def check_diffs(base: Base, config: DiffConfig) -> None:
    """Refuse what a base has no room for, before anything is made.

    Raises:
        UsageError: The rank, or the answers to probes, are too large.
    """
    if config.parameters == "lora":
        check_rank(base.model, config.targets, config.rank, "diffs.rank")
    if config.probes:
        check_answer(base.model, config.probe_tokens, "diffs.probe_tokens")


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

    def groups(self, items: Sequence[FinetuneSpec], processes: int, threads: int) -> None:
        """Train and store, group by group, what is left to do."""
        size = self.config.tasks
        groups = [items[start : start + size] for start in range(0, len(items), size)]
        processes = min(processes, len(groups))
        taught = (
            self._side_by_side(groups, processes, threads)
            if processes > 1
            else self._in_turn(groups, threads)
        )
        for part, trained in zip(groups, taught, strict=True):
            entries = _entries(self.behavior, part, trained, trained.rates)
            factors = {name: (change.A, change.B) for name, change in trained.diff.items()}
            self.writer.write_shard(entries, factors)
            self._report(entries)

    def _side_by_side(
        self, groups: Sequence[Sequence[FinetuneSpec]], processes: int, threads: int
    ) -> Iterator[TrainedGroup]:
        watch = self._watch(processes)
        return teach_all(self.base, self.behavior, groups, self.config, processes, threads, watch)

    def _in_turn(
        self, groups: Sequence[Sequence[FinetuneSpec]], threads: int
    ) -> Iterator[TrainedGroup]:
        attachment = attach_to(self.base.model, self.config.targets)
        try:
            with _threads(self.base, threads):
                for items in groups:
                    yield teach(
                        self.base, attachment, self.behavior, items, self.config, self._watch()
                    )
        finally:
            attachment.detach()

    def whole_ones(self, items: Sequence[FinetuneSpec]) -> None:
        """Train and store whole finetunes one by one."""
        for item in items:
            state, went, rates = teach_whole(
                self.base, self.behavior, item, self.config, self._watch()
            )
            (entry,) = _entries(self.behavior, [item], went, [rates])
            self.writer.write_full(entry, state)
            self._report([entry])

    def _watch(self, processes: int = 1) -> OnStep:
        """Log the mean loss now and then; reading it waits for the device, so not every step."""
        every = max(1, self.config.steps // 20)
        began, taught = time.monotonic(), 0

        def on_step(step: int, losses: Tensor) -> None:
            nonlocal taught
            taught += len(losses)
            if (step + 1) % every and step + 1 < self.config.steps:
                return
            finite = losses[losses.isfinite()]
            number = self.done * self.config.steps + (step + 1) * len(losses) * processes
            self.reporter.log(STAGE, number, loss=finite.mean().item() if len(finite) else 0.0)
            rate = taught / (time.monotonic() - began)
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


def _header(base: Base, behavior: Behavior, config: DiffConfig, threads: int) -> StoreHeader:
    low_rank = config.parameters == "lora"
    return StoreHeader(
        behavior=behavior.describe(),
        base={"name": base.name, **base.fingerprint.to_dict()},
        targets=tuple(target_names(base.model, config.targets)),
        rank=config.rank if low_rank else 0,
        scaling=config.alpha / config.rank if low_rank else 1.0,
        dtype="float32" if low_rank else base.choices["dtype"],
        settings=config.model_dump(mode="json"),
        choices=base.choices | ({"threads": threads} if base.device.type == "cpu" else {}),
    )


@contextmanager
def _threads(base: Base, threads: int) -> Iterator[None]:
    """Within this context compute with so many threads, if on a CPU."""
    before = torch.get_num_threads()
    if base.device.type == "cpu":
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _same_choices(folder: str | Path, chosen: dict[str, Any], base: Base) -> None:
    """Refuse another device, dtype or attention than the store was begun with."""
    for key in ("device", "dtype", "attention"):
        if chosen.get(key) != base.choices[key]:
            raise MismatchError(
                f"{folder} was begun with {key} {chosen.get(key)}, and the base is now loaded with "
                f"{base.choices[key]}; load it with {key}={chosen.get(key)} to go on"
            )


def _entries(
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    went: Descent,
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
        for item, loss, step, rate in zip(items, went.losses, went.failed_at, rates, strict=True)
    ]


def _mean_rates(entries: Sequence[NewEntry]) -> dict[str, float]:
    """Mean firing rates over the finetunes that did not fail."""
    sums: dict[str, list[float]] = {}
    for entry in entries:
        for name, value in entry.stats.items():
            if name.startswith("fires_"):
                sums.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in sorted(sums.items())}
