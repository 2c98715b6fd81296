"""How big a study's base, finetunes and adapter are, from the base's architecture alone.

Takes a config and a machine, gives counts and bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from diffspeak.estimate.machine import Machine
from diffspeak.estimate.passes import Shape
from diffspeak.experiments.config import StudyConfig
from diffspeak.lora import LinearShape
from diffspeak.models import (
    attach_to,
    check_rank,
    config_of,
    faster_dtype,
    skeleton,
    small_config,
)
from diffspeak.training import SMALL

NF4 = 0.5 + 4 / 64
"""Bytes of a parameter held in four bits, with a scale for each 64."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a study's models.

    Attributes:
        shape: Of the base.
        parameters: Of the base.
        base: Bytes that the base takes.
        finetune: Parameters of one finetune.
        stored: Bytes of one finetune on disk.
        adapter: Parameters of the adapter.
        whole: Whether finetunes are more than low-rank factors.
    """

    shape: Shape
    parameters: int
    base: float
    finetune: int
    stored: float
    adapter: int
    whole: bool

    @property
    def small(self) -> bool:
        """Whether the base is small enough to be timed whole, and shared by processes."""
        return self.parameters <= SMALL

    def cached(self, rows: int, tokens: int) -> float:
        """Bytes of keys and values of some rows while they are answered."""
        text: Any = self.shape.config.get_text_config(decoder=True)
        heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        each: float = 2.0 * self.shape.layers * heads * width * self.shape.dtype.itemsize
        return rows * tokens * each


def sizes_of(config: StudyConfig, machine: Machine) -> Sizes:
    """Count parameters, on a model without content.

    Raises:
        UsageError: The base's architecture is unknown, or it lacks the targets, or none is large
            enough for a rank.
    """
    dtype = config.base.dtype
    found = config_of(config.base.source, config.base.revision)
    shape = Shape(
        small_config(found) if config.base.shrink else found,
        faster_dtype(machine.device) if dtype == "auto" else getattr(torch, dtype),
    )
    model, size = skeleton(shape.config, shape.dtype), shape.dtype.itemsize
    parameters, saved = sum(p.numel() for p in model.parameters()), 0.0
    if config.base.quantize == "nf4":
        head = model.get_output_embeddings()
        linears = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
        saved = sum(linear.weight.numel() for linear in linears) * (size - NF4)
    if config.diffs.parameters == "lora":
        check_rank(model, config.diffs.targets, config.diffs.rank, "diffs.rank")
    check_rank(model, config.adapter.targets, config.adapter.rank, "adapter.rank")
    attached = attach_to(model, config.diffs.targets)
    targets = dict(attached.shapes)
    attached.detach()
    whole = config.diffs.parameters != "lora"
    every = sum(s.inputs * s.outputs for s in targets.values())
    every = parameters if config.diffs.parameters == "all" else every
    finetune = every if whole else _factors(targets, config.diffs.rank)
    adapter = _factors(attach_to(model, config.adapter.targets).shapes, config.adapter.rank)
    return Sizes(
        shape,
        parameters,
        parameters * size - saved,
        finetune,
        float(finetune) * (size if whole else 4),
        adapter,
        whole,
    )


def _factors(shapes: Mapping[str, LinearShape], rank: int) -> int:
    return sum(rank * (shape.inputs + shape.outputs) for shape in shapes.values())
