"""What each stage of a study costs: how often it goes through the model, and what a pass takes.

Takes a config and a machine, gives stages with their operations and their memory by part.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import torch

from diffspeak.behaviors import Behavior, Case, FinetuneSpec
from diffspeak.errors import UsageError
from diffspeak.estimate.lengths import texts_of
from diffspeak.estimate.machine import Machine
from diffspeak.estimate.passes import (
    Pass,
    adapter_pass,
    answers_pass,
    count,
    finetunes_pass,
    in_turn,
    measure,
)
from diffspeak.estimate.sizes import sizes_of
from diffspeak.experiments.config import StudyConfig
from diffspeak.models import Batch, Cost, make_batch
from diffspeak.text.messages import Message
from diffspeak.training import TOKENS_CPU, TOKENS_GPU, DiffConfig, StepBatch, step_batches

STEPS = 3
"""Steps whose samples are looked at."""

QUICK = 1e12
"""Floating-point operations of a pass on a few layers that may be run a few times..."""

SHORT = 512
"""...and padded tokens of the shorter one that is run in its place if it has more."""

DECODED, HEALTH = 64, 24
"""Answers that are decoded together, and finetunes that a trained adapter describes at least."""

AT_HAND = 4 << 30
"""Bytes of finetunes that adapter training keeps in memory, at most."""

ACTIVATIONS, ALLOCATOR, LEARNED = "activations and logits", "lost by the allocator", "learned"


@dataclass(frozen=True)
class Stage:
    """What one stage will need.

    Attributes:
        name: Of the stage.
        passes: How often it goes through the model.
        tokens: Padded tokens that go through it in all.
        flops: Floating-point operations in all.
        memory: Bytes by part, when it needs most.
        timed: The pass that is run to tell how fast the stage will be.
        whole_pass: Whether that is as large as those of the stage.
        processes: How many share the work.
        needs: For some settings, what the stage would need (bytes) with another value.
        seconds: What it takes; None until it is measured.
    """

    name: str
    passes: int
    tokens: int
    flops: float
    memory: Mapping[str, float]
    timed: Pass
    whole_pass: bool = True
    processes: int = 1
    needs: Mapping[str, Callable[["Stage", int], float]] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def peak(self) -> float:
        """Bytes in all."""
        return sum(self.memory.values())

    def with_passes(self, factor: float, learned: float = 1.0) -> float:
        """Bytes in all if passes, and what is learned, were so many times as large."""
        passes = self.memory[ACTIVATIONS] + self.memory[ALLOCATOR]
        return self.peak + (factor - 1) * passes + (learned - 1) * self.memory[LEARNED]


class Estimates:
    """All estimates of one study.

    Args:
        config: Complete.
        behavior: What is taught; None where its corpora are not there yet.
        items: The finetunes to make; none where the corpora are not there yet.
        machine: Where it is to run.

    Raises:
        UsageError: The base's architecture is unknown, it lacks the targets, or nobody says how
            many finetunes there will be.
    """

    def __init__(
        self,
        config: StudyConfig,
        behavior: Behavior | None,
        items: Sequence[FinetuneSpec],
        machine: Machine,
    ) -> None:
        self.config, self.machine, self.items = config, machine, items
        self.count = len(items) or sum(number or 0 for _, number in config.items)
        if not self.count:
            raise UsageError(
                "how many finetunes there will be is not known, for the corpora are not there: "
                "set items.train and items.test"
            )
        self.sizes = sizes_of(config, machine)
        self.tasks = 1 if self.sizes.whole else min(config.diffs.tasks, self.count)
        self.texts = texts_of(
            config.base, config.behavior, behavior, items, tasks=self.tasks, steps=STEPS
        )
        most = TOKENS_CPU if machine.device.type == "cpu" else TOKENS_GPU
        self.most = config.diffs.max_tokens or most
        self.diffs = config.diffs.model_copy(update={"max_tokens": self.most})
        self.train = min(self._of_split("train"), config.adapter.max_finetunes or self.count)

    def finetunes(self) -> Stage:
        """Training of finetunes."""
        config, tasks, whole = self.diffs, self.tasks, self.sizes.whole
        cut = [self._cut(step[:tasks], config) for step in self.texts.steps]
        parts = [part for step in cut for part in step]
        largest = max(parts, key=_tokens)
        cost = count(self.sizes.shape, config.targets, finetunes_pass(config, largest, tasks))
        groups = math.ceil(self.count / tasks)
        padded = sum(map(_tokens, parts)) / len(cut)
        tokens = groups * config.steps * padded
        quick = self._is_quick(cost.flops * len(cut) * padded / _tokens(largest))
        several = in_turn([finetunes_pass(config, part, tasks) for part in parts])
        processes = self._processes(groups)
        memory = self._memory(cost, tasks * self.sizes.finetune, processes, inside=not whole)
        row = max(part.batch.ids.shape[1] for part in parts)

        def of_tokens(stage: Stage, value: int) -> float:
            return stage.with_passes(max(value, row) / _tokens(largest))

        def of_tasks(stage: Stage, value: int) -> float:
            step = max(_tokens(largest), min(self.most, value * padded / tasks))
            return stage.with_passes(step / _tokens(largest), value / tasks)

        needs = {"diffs.max_tokens": of_tokens}
        return Stage(
            "finetunes",
            round(groups * config.steps * len(parts) / len(cut)),
            round(tokens),
            # Of whole finetunes the weights have gradients, too.
            (1.5 if whole else 1.0) * cost.flops * tokens / _tokens(largest),
            memory,
            several if quick else self._short_pass(),
            quick,
            processes,
            needs if whole else {**needs, "diffs.tasks": of_tasks},
        )

    def adapter(self) -> Stage:
        """Training of the adapter, and of the control with shuffled labels if it is asked for."""
        config, rank = self.config.adapter, self.config.diffs.rank
        size = max(1, min(config.batch, self.train))
        rows = self._rows(size)
        run = adapter_pass(config, rank, rows)
        cost = count(self.sizes.shape, config.targets, run)
        times = 2 if self.config.evaluate.controls else 1
        steps = times * math.ceil(self.train / size) * config.epochs
        memory = self._memory(cost, self.sizes.adapter, 1)
        if self.machine.device.type == "cpu":
            memory["finetunes at hand"] = min(AT_HAND, self.train * self.sizes.stored)
        quick = self._is_quick(cost.flops)
        timed = run if quick else adapter_pass(config, rank, self._rows(1))
        needs = {"adapter.batch": lambda stage, value: stage.with_passes(value / size)}
        tokens = steps * rows.ids.numel()
        return Stage(
            "adapter", steps, tokens, steps * cost.flops, memory, timed, quick, needs=needs
        )

    def answers(self) -> Stage:
        """Answers of finetunes to their probes, and descriptions of finetunes."""
        asked = [(answers, tokens) for answers, tokens in self._asked() if answers]
        rows = min(DECODED, max((answers for answers, _ in asked), default=1))
        prompt = self._rows(1).ids.shape[1]
        batches = sum(math.ceil(answers / rows) for answers, _ in asked)
        told = sum(math.ceil(answers / rows) * tokens for answers, tokens in asked)
        rank, targets = self.config.diffs.rank, self.config.diffs.targets
        read, tell = answers_pass(rank, rows, prompt), answers_pass(rank, rows, 1)
        reading, telling = (count(self.sizes.shape, targets, each) for each in (read, tell))
        memory = self._memory(reading + telling, 0, 1)
        longest = max((tokens for _, tokens in asked), default=0)
        memory["keys and values"] = self.sizes.cached(rows, prompt + longest)
        return Stage(
            "answers",
            batches + told,
            rows * (batches * prompt + told),
            batches * reading.flops + told * telling.flops,
            memory,
            in_turn([read, *[tell] * min(8, max(1, told // max(1, batches)))]),
        )

    def _asked(self) -> list[tuple[int, int]]:
        """How many answers there are, and how long each may be."""
        config, adapter = self.config, self.config.adapter
        cases = len(get_args(Case)) if config.behavior.trigger != "none" else 1
        validated = min(adapter.validation, self._of_split("validation"))
        known = min(max(HEALTH, adapter.validation), self.train)
        tested = self._of_split(config.evaluate.split)
        tested = min(tested, config.evaluate.limit or tested)
        controls = config.evaluate.controls
        return [
            (self.count * cases * config.diffs.probes, config.diffs.probe_tokens),
            (validated * adapter.validations + known * (1 + controls), adapter.answer_tokens),
            (tested * (2 + controls), config.evaluate.tokens),
        ]

    def measured(self, stage: Stage) -> Stage:
        """The stage with its time, from running a pass; and with the memory that this showed."""
        before, small = torch.get_num_threads(), self.sizes.small
        torch.set_num_threads(max(1, before // stage.processes))
        try:
            targets, device = self.config.diffs.targets, self.machine.device
            found = measure(self.sizes.shape, targets, stage.timed, device, whole=small)
        finally:
            torch.set_num_threads(before)
        memory = dict(stage.memory)
        if found.allocator is not None and stage.whole_pass:
            counted = memory[LEARNED] / 2 + memory[ACTIVATIONS]
            # Where little is kept of each layer, the heap grows by more than in proportion.
            grown = max(found.allocator * counted, stage.processes * found.grown)
            memory[ALLOCATOR] = max(0.0, grown - counted)
        seconds = stage.flops / (found.rate * stage.processes)
        return replace(stage, seconds=seconds, memory=memory)

    def _cut(self, samples: Sequence[Sequence[object]], config: DiffConfig) -> list[StepBatch]:
        return list(step_batches(samples, self.texts.chat, config))  # type: ignore[arg-type]

    def _short_pass(self) -> Pass:
        config = self.diffs.model_copy(update={"max_tokens": SHORT})
        part = self._cut(self.texts.steps[0][:1], config)[0]
        return finetunes_pass(config, part, 1)

    def _is_quick(self, flops: float) -> bool:
        """Whether passes of so many operations on all layers can be run on a few of them."""
        return self.sizes.small or flops * min(1.0, 2 / self.sizes.shape.layers) < QUICK

    def _rows(self, size: int) -> Batch:
        chat, labels = self.texts.chat, self.texts.labels
        asked = [labels[i % len(labels)] for i in range(size)]
        rendered = [
            chat.with_answer((Message("user", question),), label, learn_end=True)
            for question, label in asked
        ]
        return make_batch(rendered, chat.pad_id)

    def _memory(
        self, cost: Cost, learned: int, processes: int, *, inside: bool = True
    ) -> dict[str, float]:
        """Bytes by part; `inside`: what is learned, and its gradient, is in the cost already."""
        counted = cost.peak - (8.0 * learned if inside else 0.0)
        others = processes if processes > 1 else 0
        # Master, gradient and Adam's two in float32; of whole finetunes a copy to compute with.
        each = 16.0 if inside else 16.0 + self.sizes.shape.dtype.itemsize
        return {
            "program": self.machine.program + others * self.machine.another,
            "base": self.sizes.base,
            LEARNED: each * learned * processes,
            ACTIVATIONS: counted * processes,
            ALLOCATOR: (self.machine.allocator - 1) * cost.peak * processes,
        }

    def _processes(self, groups: int) -> int:
        cpu = self.machine.device.type == "cpu"
        if self.sizes.whole or not (cpu and self.sizes.small):
            return 1
        return max(1, min(torch.get_num_threads(), groups))

    def _of_split(self, split: str) -> int:
        if self.items:
            return sum(item.split == split for item in self.items)
        return getattr(self.config.items, split) or 0


def _tokens(step: StepBatch) -> int:
    return step.batch.ids.numel()
