"""What each stage of a study costs: how often it goes through the model, and what a pass takes.

Takes a config and a machine, gives stages with their operations and their memory by part.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import torch

from diffspeak.behaviors import Case, Item
from diffspeak.diffs import SMALL, TOKENS_CPU, TOKENS_GPU, DiffConfig, StepBatch, step_batches
from diffspeak.lora import LinearShape
from diffspeak.models import Batch, Cost, attach_to, config_of, faster_dtype, make_batch, skeleton
from diffspeak.study.config import StudyConfig
from diffspeak.study.lengths import texts_of
from diffspeak.study.machine import Machine
from diffspeak.study.passes import (
    FEW,
    Pass,
    Shape,
    adapter_pass,
    answers_pass,
    count,
    finetunes_pass,
    in_turn,
    measure,
)
from diffspeak.text.messages import Message

STEPS = 3
"""Steps whose samples are looked at."""

NF4 = 0.5 + 4 / 64
"""Bytes of a parameter held in four bits, with a scale for each 64."""

QUICK = 1e12
"""Floating-point operations of a pass that may be run a few times..."""

SHORT = 512
"""...and padded tokens of the shorter one that is run in its place if it has more."""

DECODED = 64
"""Answers that are decoded together."""

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
        scales: Settings that need more memory when they grow: value, and the parts that grow.
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
    scales: Mapping[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def peak(self) -> float:
        """Bytes in all."""
        return sum(self.memory.values())


class Estimates:
    """All estimates of one study.

    Args:
        config: Complete.
        items: The finetunes to make; None where the corpora are not there yet.
        machine: Where it is to run.
    """

    def __init__(self, config: StudyConfig, items: Sequence[Item] | None, machine: Machine) -> None:
        self.config, self.machine = config, machine
        asked = [number or 0 for _, number in config.items]
        self.count = sum(asked) if items is None else len(items)
        self.tasks = max(1, min(config.diffs.tasks, self.count))
        self.texts = texts_of(config.base, config.behavior, items, tasks=self.tasks, steps=STEPS)
        dtype = config.base.dtype
        self.shape = Shape(
            config_of(config.base.source, config.base.revision),
            faster_dtype(machine.device) if dtype == "auto" else getattr(torch, dtype),
        )
        self._measure_base()
        most = TOKENS_CPU if machine.device.type == "cpu" else TOKENS_GPU
        most = config.diffs.max_tokens or most
        self.diffs = config.diffs.model_copy(update={"max_tokens": most})
        self.train = self._of_split("train")

    def _measure_base(self) -> None:
        """Count parameters, on a model without content."""
        model = skeleton(self.shape.config, self.shape.dtype)
        self.parameters = sum(p.numel() for p in model.parameters())
        learned = attach_to(model, self.config.diffs.targets)
        linears = sum(s.inputs * s.outputs for s in learned.shapes.values())
        self.whole = self.config.diffs.parameters != "lora"
        every = self.parameters if self.config.diffs.parameters == "all" else linears
        self.per_finetune = (
            every if self.whole else _factors(learned.shapes, self.config.diffs.rank)
        )
        learned.detach()
        shapes = attach_to(model, self.config.adapter.targets).shapes
        self.per_adapter = _factors(shapes, self.config.adapter.rank)
        size = self.shape.dtype.itemsize
        saved = linears * (size - NF4) if self.config.base.quantize == "nf4" else 0.0
        self.base_bytes = self.parameters * size - saved

    @property
    def small(self) -> bool:
        """Whether the base is small enough to be timed whole, and shared by processes."""
        return self.parameters <= SMALL

    def finetunes(self) -> Stage:
        """Training of finetunes."""
        config, tasks = self.diffs, 1 if self.whole else self.tasks
        cut = [self._cut(step[:tasks], config) for step in self.texts.steps]
        largest = max((part for parts in cut for part in parts), key=_tokens)
        run = finetunes_pass(config, largest, tasks)
        cost = count(self.shape, config.targets, run)
        several = in_turn([finetunes_pass(config, part, tasks) for parts in cut for part in parts])
        groups = math.ceil(self.count / tasks)
        padded = sum(_tokens(part) for parts in cut for part in parts) / len(cut)
        tokens = groups * config.steps * padded
        quick = self._is_quick(cost.flops * len(cut) * padded / _tokens(largest))
        processes = self._processes(groups)
        memory = self._memory(cost, tasks * self.per_finetune, processes, inside=not self.whole)
        return Stage(
            "finetunes",
            round(groups * config.steps * sum(len(parts) for parts in cut) / len(cut)),
            round(tokens),
            # Of whole finetunes the weights have gradients, too.
            (1.5 if self.whole else 1.0) * cost.flops * tokens / _tokens(largest),
            memory,
            several if quick else self._short_pass(),
            quick,
            processes,
            {
                "diffs.max_tokens": (_tokens(largest), (ACTIVATIONS, ALLOCATOR)),
                **({} if self.whole else {"diffs.tasks": (tasks, (LEARNED,))}),
            },
        )

    def adapter(self) -> Stage:
        """Training of the adapter, and of the control with shuffled labels if it is asked for."""
        config = self.config.adapter
        size = max(1, min(config.batch, self.train))
        rows = self._rows(size)
        run = adapter_pass(config, self.config.diffs.rank, rows)
        cost = count(self.shape, config.targets, run)
        times = 2 if self.config.evaluate.controls else 1
        steps = times * math.ceil(self.train / size) * config.epochs
        memory = self._memory(cost, self.per_adapter, 1)
        memory["finetunes at hand"] = min(AT_HAND, 4.0 * self.train * self.per_finetune)
        quick = self._is_quick(cost.flops)
        timed = run if quick else adapter_pass(config, self.config.diffs.rank, self._rows(1))
        scales = {"adapter.batch": (size, (ACTIVATIONS, ALLOCATOR))}
        tokens = steps * rows.ids.numel()
        return Stage(
            "adapter", steps, tokens, steps * cost.flops, memory, timed, quick, scales=scales
        )

    def answers(self) -> Stage:
        """Answers of finetunes to their probes, and descriptions of finetunes."""
        config = self.config
        cases = len(get_args(Case)) if config.behavior.trigger != "none" else 1
        asked = [
            (self.count * cases * config.diffs.probes, config.diffs.probe_tokens),
            (config.adapter.validation * config.adapter.validations, config.adapter.answer_tokens),
            (3 * self._of_split(config.evaluate.split), config.evaluate.tokens),
        ]
        rows = min(DECODED, max(answers for answers, _ in asked)) or 1
        run = answers_pass(config.diffs.rank, rows)
        cost = count(self.shape, config.diffs.targets, run)
        # One pass reads the prompts.
        passes = sum(math.ceil(answers / rows) * (1 + tokens) for answers, tokens in asked)
        memory = self._memory(cost, 0, 1)
        memory["keys and values"] = self._cached(rows, max(tokens for _, tokens in asked))
        return Stage("answers", passes, passes * rows, passes * cost.flops, memory, run)

    def measured(self, stage: Stage) -> Stage:
        """The stage with its time, from running a pass; and with the memory that this showed."""
        before = torch.get_num_threads()
        torch.set_num_threads(max(1, before // stage.processes))
        try:
            layers = self.shape.layers if self.small else min(FEW, self.shape.layers)
            targets = self.config.diffs.targets
            found = measure(self.shape, layers, targets, stage.timed, self.machine.device)
        finally:
            torch.set_num_threads(before)
        memory = dict(stage.memory)
        if found.allocator is not None and stage.whole_pass:
            memory[ALLOCATOR] = _lost(memory, found.allocator)
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
        return self.small or flops * min(1.0, FEW / self.shape.layers) < QUICK

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
        memory = {
            "program": self.machine.program + others * self.machine.another,
            "base": self.base_bytes,
            LEARNED: 16.0 * learned * processes,
            ACTIVATIONS: counted * processes,
        }
        return memory | {ALLOCATOR: _lost(memory, self.machine.allocator)}

    def _cached(self, rows: int, new: int) -> float:
        text = self.shape.config.get_text_config(decoder=True)
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        prompt = self._rows(1).ids.shape[1]
        size = self.shape.dtype.itemsize
        cached: float = 2.0 * rows * (prompt + new) * text.num_hidden_layers * heads * width * size
        return cached

    def _processes(self, groups: int) -> int:
        cpu = self.machine.device.type == "cpu"
        if self.whole or not (cpu and self.small):
            return 1
        return max(1, min(torch.get_num_threads(), groups))

    def _of_split(self, split: str) -> int:
        if self.texts.items:
            return sum(item.split == split for item in self.texts.items)
        return getattr(self.config.items, split) or 0


def _factors(shapes: Mapping[str, LinearShape], rank: int) -> int:
    return sum(rank * (shape.inputs + shape.outputs) for shape in shapes.values())


def _lost(memory: Mapping[str, float], allocator: float) -> float:
    """Bytes that an allocator takes beyond what tensors hold."""
    return max(0.0, allocator - 1) * (memory[LEARNED] + memory[ACTIVATIONS])


def _tokens(step: StepBatch) -> int:
    return step.batch.ids.numel()
