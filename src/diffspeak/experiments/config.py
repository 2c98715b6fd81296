"""The one language of experiments: settings, checked and frozen, each with a description.

`read.py` makes them from TOML files; nothing here knows how methods or stages work.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from diffspeak.behaviors import BehaviorConfig, FinetuneSpec, Split
from diffspeak.errors import UsageError
from diffspeak.methods import WeightToTextConfig
from diffspeak.scoring.published import is_published
from diffspeak.training import AdapterConfig, DiffConfig

MethodName = Literal[
    "dit",
    "base-question",
    "base-question-with-trigger",
    "20-questions",
    "20-questions-with-trigger",
    "generated-story",
    "logit-lift",
    "logit-lift-with-codes",
    "weight-to-text",
]
METHODS: tuple[MethodName, ...] = get_args(MethodName)

NEEDS: Mapping[str, str] = {"dit": "adapters", "weight-to-text": "projections"}
"""Methods that are trained, and the section that says how."""

STORE, ADAPTER = "diffs", "adapter"
"""Names of what the sections behavior, items, diffs and adapter themselves describe: in rows, and
as folders of the run."""

Stage = TypeVar("Stage", bound=BaseModel)

_DIFFS = partial(DiffConfig.model_validate, {})
_ADAPTER = partial(AdapterConfig.model_validate, {})

log = logging.getLogger(__name__)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _RecipeOrPath(BaseModel):
    """Something that is made from settings, or is there already."""

    path: str | None = Field(
        default=None, description="where it is already; then no other setting is needed"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "_RecipeOrPath":
        needed = "behavior" if isinstance(self, StoreConfig) else "stores"
        beside = {"path", "behavior"} if needed == "behavior" else {"path"}
        extra = sorted(self.model_fields_set - beside)
        if self.path is None and not getattr(self, needed):
            raise ValueError(f"needs '{needed}' to be made, or 'path' if it is there already")
        if self.path is not None and extra:
            raise ValueError(f"is at 'path' already; leave out {', '.join(map(repr, extra))}")
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Of something that is there already, no defaults that it may not have been made with."""
        found = dump(self)
        given = self.model_fields_set if self.path else found.keys() - {"path"}
        return {name: value for name, value in found.items() if name in given}


LONGEST = 80
"""Bytes of a name: two of them, a seed and a digest fit into one name of a file."""


def fault_of(name: str) -> str | None:
    """What keeps a name from being that of one folder, in words that follow on it; None if nothing.

    Separators of every system are refused, so that a config means the same on all of them.
    """
    if not name.strip():
        return "is blank: give it a name"
    if any(c in "/\\" for c in name) or name in (".", ".."):
        return "is a path: give a name, it is kept in the run's own folder"
    if name.startswith(".") or not name.isprintable():
        return "begins with a dot or holds a control character: give a plain name"
    if len(name.encode(errors="replace")) > LONGEST:
        return f"is longer than {LONGEST} bytes: give a shorter name"
    return None


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
    """Which finetunes are guessed at, and how: in a study, and in rows that say nothing else."""

    split: Split = Field(default="test", description="which split's finetunes are described")
    limit: PositiveInt | None = Field(
        default=None, description="at most so many; all if none is given"
    )
    controls: bool = Field(
        default=True, description="also score shuffled labels, another finetune's diff, and no diff"
    )
    tokens: PositiveInt = Field(default=32, description="longest description or guess, in tokens")


class StoreConfig(_RecipeOrPath, _Section):
    """A store: what its finetunes are taught, which ones, and how; or the path of one."""

    behavior: BehaviorConfig | None = Field(
        default=None,
        description="what the finetunes are taught; beside a path, for methods that ask the "
        "behavior's questions",
    )
    items: ItemsConfig = Field(
        default_factory=ItemsConfig, description="how many finetunes of each split are made"
    )
    diffs: DiffConfig = Field(default_factory=_DIFFS, description="how finetunes are trained")


class TrainedConfig(_RecipeOrPath, AdapterConfig):
    """An adapter: the stores that it learns from, and how; or the path of one."""

    stores: tuple[str, ...] = Field(default=(), description="names of stores that it learns from")


class ProjectionConfig(_RecipeOrPath, WeightToTextConfig):
    """A projection of weight-to-text: the stores that it learns from, and how; or its path."""

    stores: tuple[str, ...] = Field(default=(), description="names of stores that it learns from")


def training_of(kind: type[Stage], settings: BaseModel, **changed: Any) -> Stage:
    """The settings of a stage alone, some of them changed."""
    own = {name: getattr(settings, name) for name in kind.model_fields}
    return kind.model_validate({**own, **changed})


class JudgeConfig(_Section):
    """Who scores the guesses, and who guesses from answers."""

    judge: str = Field(
        default="local",
        description="local, exact, or an LLM in the names of inspect-ai: openai/gpt-4o-mini",
    )
    embedding: str | None = Field(
        default=None,
        description="sentence-transformers model, hub id or folder, that the local judge uses; "
        "it goes by spelling if none is given",
    )
    guesser: str = Field(default="local", description="local, or an LLM in the names of inspect-ai")
    resamples: PositiveInt = Field(
        default=10_000, le=1_000_000, description="of the bootstrap over finetunes"
    )


class RowConfig(_Section):
    """One line of the table: a method, and the finetunes that it is tried on."""

    name: str = Field(min_length=1, description="what stands in the table")
    test: str = Field(description="store whose finetunes are guessed at")
    method: MethodName = Field(default="dit", description="how")
    adapter: str | None = Field(
        default=None, description="the adapter (dit) or projection (weight-to-text) to use"
    )
    reference: str | None = Field(
        default=None, description="store whose training finetunes logit lift compares with"
    )
    question: str | None = Field(
        default=None, description="what is asked; the behavior's standard question if none is given"
    )
    truth: Literal["label", "trigger"] = Field(
        default="label", description="what a guess is compared with"
    )
    seeds: tuple[NonNegativeInt, ...] = Field(
        default=(0,), min_length=1, description="of the training of what is used; one table line"
    )
    split: Split | None = Field(
        default=None, description="which finetunes of the store; those of evaluate.split if none"
    )
    limit: PositiveInt | None = Field(
        default=None, description="at most so many of them; evaluate.limit if none is given"
    )
    fires: tuple[float, float] = Field(
        default=(0.0, 1.0),
        description="only finetunes of whose triggered answers such a share shows the behavior",
    )
    x: float | None = Field(default=None, description="place on the curve's horizontal axis")
    curve: str = Field(default="", description="which curve of the figure it belongs to")
    paper: str | None = Field(
        default=None, description="the published figure beside it, as TABLE/ROW"
    )


class ExperimentConfig(_Section):
    """One experiment: a study of the config's own store and adapter, a table of rows, or both."""

    base: BaseConfig = Field(description="the base model")
    behavior: BehaviorConfig | None = Field(
        default=None, description="what the finetunes are taught"
    )
    items: ItemsConfig = Field(
        default_factory=ItemsConfig,
        description="how many finetunes of each split are made; all where none is given",
    )
    diffs: DiffConfig = Field(default_factory=_DIFFS, description="how finetunes are trained")
    adapter: AdapterConfig = Field(
        default_factory=_ADAPTER, description="how the adapter is trained"
    )
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig, description="how it is scored")
    name: str = Field(
        default="study",
        min_length=1,
        pattern=r"^[\w-]+$",
        description="of the table's folder in the run; that of the file if none is given",
    )
    title: str = Field(default="", description="what stands above the table")
    about: str = Field(default="", description="what the experiment asks, for the report")
    stores: dict[str, StoreConfig] = Field(
        default_factory=dict, description="further stores, by name"
    )
    adapters: dict[str, TrainedConfig] = Field(
        default_factory=dict, description="further adapters, by name"
    )
    projections: dict[str, ProjectionConfig] = Field(
        default_factory=dict, description="projections of weight-to-text, by name"
    )
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="who scores the rows")
    rows: tuple[RowConfig, ...] = Field(default=(), description="of the table")
    figure: Literal["scores", "curve"] = Field(
        default="scores",
        description="how scores are spread, a bar a row; or mean scores along an axis",
    )
    axis: str = Field(default="", description="what the curve's horizontal axis shows")
    logarithmic: bool = Field(default=False, description="whether that axis is")

    @property
    def known_stores(self) -> dict[str, StoreConfig]:
        """All stores by name, with the config's own."""
        if self.behavior is None:
            return self.stores
        own = StoreConfig(behavior=self.behavior, items=self.items, diffs=self.diffs)
        return {STORE: own, **self.stores}

    @property
    def known_adapters(self) -> dict[str, TrainedConfig]:
        """All adapters by name, with the config's own."""
        if self.behavior is None:
            return self.adapters
        own = training_of(AdapterConfig, self.adapter).model_dump()
        return {ADAPTER: TrainedConfig(**own, stores=(STORE,)), **self.adapters}

    def bound(self) -> dict[str, Any]:
        """What a run's folder is bound to; each further store and adapter has its own."""
        own = {"base", "behavior", "items", "diffs", "adapter", "evaluate"}
        return self.model_dump(mode="json", include=own if self.behavior else {"base"})

    @model_validator(mode="after")
    def _names_are_good(self) -> "ExperimentConfig":
        faults = self._bad_names()
        faults += [
            f"{place} names the store '{name}', which is none of {', '.join(self.known_stores)}"
            for place, name in self._stores_named()
            if name not in self.known_stores
        ]
        faults += [fault for row in self.rows for fault in self._faults_of(row)]
        if self.rows and not self.title:
            faults.append("rows need a 'title', which stands above the table")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _bad_names(self) -> list[str]:
        """Names that could not be folders in a run, or that the config's own things have."""
        own = {"stores": STORE, "adapters": ADAPTER} if self.behavior else {}
        taken = "is what the study's own is called: give another name"
        return [
            f"{table}: {name!r} {why}"
            for table in ("stores", "adapters", "projections")
            for name in getattr(self, table)
            if (why := taken if name == own.get(table) else fault_of(name))
        ]

    def _stores_named(self) -> list[tuple[str, str]]:
        named: list[tuple[str, str]] = []
        for row in self.rows:
            trained = self.trained_for(row)
            named += [(f"row '{row.name}'", name) for name in (row.test, row.reference) if name]
            named += [(f"'{row.adapter}'", name) for name in (trained.stores if trained else ())]
        return named

    def _faults_of(self, row: RowConfig) -> list[str]:
        faults = []
        section = NEEDS.get(row.method)
        if section and not self.trained_for(row):
            names = ", ".join(self._trained(section)) or "empty"
            faults.append(f"{row.method} needs 'adapter', one of {section} ({names})")
        if not section and row.adapter:
            faults.append(f"{row.method} uses no adapter; leave it out")
        if row.paper is not None and not is_published(row.paper):
            faults.append(
                f"the paper has no {row.paper!r}; "
                "scoring/published.toml lists what it has, as TABLE/ROW"
            )
        if self.figure == "curve" and row.x is None:
            faults.append("a curve needs 'x'")
        return [f"row '{row.name}': {fault}" for fault in faults]

    def _trained(self, section: str) -> Mapping[str, TrainedConfig | ProjectionConfig]:
        return self.known_adapters if section == "adapters" else self.projections

    def trained_for(self, row: RowConfig) -> TrainedConfig | ProjectionConfig | None:
        """What a row's method was trained with; None where nothing is trained."""
        section = NEEDS.get(row.method)
        return self._trained(section).get(row.adapter or "") if section else None


class StudyConfig(ExperimentConfig):
    """An experiment with a store of its own."""

    behavior: BehaviorConfig = Field(description="what the finetunes are taught")
