"""The config of a study: one section a stage, each documented and checked by its own room.

Takes settings (from Python or from a TOML file, see `read.py`), gives them checked and frozen.
Knows nothing of files' syntax.
"""

import logging
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from diffspeak.behaviors import BehaviorConfig, FinetuneSpec, Split
from diffspeak.errors import UsageError
from diffspeak.training import AdapterConfig, DiffConfig

log = logging.getLogger(__name__)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseConfig(_Section):
    """Which base model, and how it is loaded."""

    source: str = Field(
        min_length=1,
        description="hub id or folder of the base model, or pocket, the one that ships with us",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="what the base computes in; auto takes what is fast on this machine",
    )
    device: str = Field(
        default="auto", description="as torch names it; auto takes a GPU if there is one"
    )
    attention: str = Field(
        default="auto",
        description="attention implementation of transformers: auto, sdpa, eager, ...",
    )
    revision: str | None = Field(default=None, description="revision of a hub repository")
    quantize: Literal["none", "nf4"] = Field(
        default="none", description="nf4 holds the base's linears in four bits (bitsandbytes)"
    )
    device_map: Literal["none", "auto", "balanced", "sequential"] = Field(
        default="none", description="how a base too large for one GPU is spread over several"
    )
    shrink: bool = Field(
        default=False,
        description="a small random model of the base's architecture in its place, for a dry run; "
        "the option --shrink makes all else small, too",
    )


class ItemsConfig(_Section):
    """How many finetunes of each split are made: the first ones, or all where none is given."""

    train: NonNegativeInt | None = Field(
        default=None, description="finetunes to train the adapter on"
    )
    validation: NonNegativeInt | None = Field(
        default=None, description="finetunes to watch training with"
    )
    calibration: NonNegativeInt | None = Field(
        default=None, description="finetunes to calibrate confidence on"
    )
    test: NonNegativeInt | None = Field(
        default=None, description="finetunes that only evaluation sees"
    )

    def choose(self, items: Sequence[FinetuneSpec]) -> list[FinetuneSpec]:
        """Take the first ones of each split, split by split.

        A split that has fewer than were asked for gives all it has, which is logged.

        Raises:
            UsageError: Nothing is left.
        """
        chosen = []
        for split, asked in self:
            found = [item for item in items if item.split == split]
            if asked is not None and asked > len(found):
                log.warning("items.%s: only %d of %d exist", split, len(found), asked)
            chosen += found[:asked]
        if not chosen:
            raise UsageError("no finetunes are left to make: raise items.train and its neighbors")
        return chosen


class EvaluateConfig(_Section):
    """How the adapter is scored on finetunes it never saw."""

    split: Split = Field(default="test", description="which split's finetunes are described")
    limit: PositiveInt | None = Field(
        default=None, description="at most so many; all if none is given"
    )
    controls: bool = Field(
        default=True, description="also score shuffled labels, another finetune's diff, and no diff"
    )
    tokens: PositiveInt = Field(default=32, description="longest description, in tokens")


class AdapterStudyConfig(_Section):
    """A study whose finetunes may be made already: the behavior can be left out."""

    base: BaseConfig = Field(description="the base model")
    behavior: BehaviorConfig | None = Field(
        default=None, description="what the finetunes are taught"
    )
    items: ItemsConfig = Field(
        default_factory=ItemsConfig,
        description="how many finetunes of each split are made; all where none is given",
    )
    diffs: DiffConfig = Field(
        default_factory=lambda: DiffConfig.model_validate({}),
        description="how finetunes are trained",
    )
    adapter: AdapterConfig = Field(
        default_factory=lambda: AdapterConfig.model_validate({}),
        description="how the adapter is trained",
    )
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="how it is scored")


class StudyConfig(AdapterStudyConfig):
    """A whole study, from corpora to scores."""

    behavior: BehaviorConfig = Field(description="what the finetunes are taught")
