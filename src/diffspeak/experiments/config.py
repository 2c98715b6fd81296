"""What an experiment is: stores and adapters by name, and the rows of its table.

Takes settings (from Python or from a TOML file, see `read.py`), gives them checked and frozen.
Knows nothing of files' syntax, and nothing of how methods work.
"""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from diffspeak.behaviors import BehaviorConfig, Split
from diffspeak.experiments.inside import fault_of
from diffspeak.experiments.study_config import BaseConfig, ItemsConfig
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

NEEDS = {"dit": "adapters", "weight-to-text": "projections"}
"""Methods that are trained, and where what they need stands in the config."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StoreConfig(_Section):
    """A store: what its finetunes are taught, which ones, and how they are trained."""

    behavior: BehaviorConfig = Field(description="what the finetunes are taught")
    items: ItemsConfig = Field(
        default_factory=ItemsConfig, description="how many finetunes of each split are made"
    )
    diffs: DiffConfig = Field(
        default_factory=lambda: DiffConfig.model_validate({}),
        description="how finetunes are trained",
    )


class TrainedConfig(AdapterConfig):
    """An adapter: the stores that it learns from, and how."""

    stores: tuple[str, ...] = Field(min_length=1, description="names of stores")

    @property
    def training(self) -> AdapterConfig:
        """How it is trained, without the stores."""
        return AdapterConfig(**self.model_dump(exclude={"stores"}))


class ProjectionConfig(WeightToTextConfig):
    """A projection of weight-to-text: the stores that it learns from, and how."""

    stores: tuple[str, ...] = Field(min_length=1, description="names of stores")

    @property
    def training(self) -> WeightToTextConfig:
        """How it is trained, without the stores."""
        return WeightToTextConfig(**self.model_dump(exclude={"stores"}))


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
    split: Split = Field(default="test", description="which finetunes of the store")
    limit: PositiveInt | None = Field(default=None, description="at most so many of them")
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
    """One experiment, complete."""

    name: str = Field(
        min_length=1,
        pattern=r"^[\w-]+$",
        description="of its folder in the run; that of the file if none is given",
    )
    title: str = Field(description="what stands above the table")
    about: str = Field(default="", description="what the experiment asks, for the report")
    base: BaseConfig = Field(description="the base model")
    stores: dict[str, StoreConfig] = Field(default_factory=dict, description="by name")
    adapters: dict[str, TrainedConfig] = Field(default_factory=dict, description="by name")
    projections: dict[str, ProjectionConfig] = Field(default_factory=dict, description="by name")
    judge: JudgeConfig = Field(default_factory=JudgeConfig, description="who scores")
    rows: tuple[RowConfig, ...] = Field(min_length=1, description="of the table")
    figure: Literal["scores", "curve"] = Field(
        default="scores",
        description="how scores are spread, a bar a row; or mean scores along an axis",
    )
    axis: str = Field(default="", description="what the curve's horizontal axis shows")
    logarithmic: bool = Field(default=False, description="whether that axis is")
    tokens: PositiveInt = Field(default=32, description="longest guess")

    @model_validator(mode="after")
    def _names_are_good(self) -> "ExperimentConfig":
        faults = [f"{table}: {name!r} {fault}" for table, name, fault in self._bad_names()]
        faults += [
            f"{place} names the store '{name}', which is none of {', '.join(self.stores)}"
            for place, name in self._stores_named()
            if name not in self.stores
        ]
        faults += [fault for row in self.rows for fault in self._faults_of(row)]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _bad_names(self) -> list[tuple[str, str, str]]:
        """Names that could not be folders in a run: where each stands, and why."""
        named = [("stores", name) for name in self.stores]
        named += [("adapters", name) for name in self.adapters]
        named += [("projections", name) for name in self.projections]
        return [(table, name, why) for table, name in named if (why := fault_of(name))]

    def _stores_named(self) -> list[tuple[str, str]]:
        named = [(f"row '{row.name}'", row.test) for row in self.rows]
        named += [(f"row '{row.name}'", row.reference) for row in self.rows if row.reference]
        for row in self.rows:
            trained = self.trained_for(row)
            named += [(f"'{row.adapter}'", name) for name in (trained.stores if trained else ())]
        return named

    def _faults_of(self, row: RowConfig) -> list[str]:
        faults = []
        section = NEEDS.get(row.method)
        known = getattr(self, section) if section else {}
        if section and row.adapter not in known:
            names = ", ".join(known) or "empty"
            faults.append(
                f"row '{row.name}': {row.method} needs 'adapter', one of {section} ({names})"
            )
        if not section and row.adapter:
            faults.append(f"row '{row.name}': {row.method} uses no adapter; leave it out")
        if row.paper is not None and not is_published(row.paper):
            faults.append(
                f"row '{row.name}': the paper has no {row.paper!r}; "
                "evaluate/published.toml lists what it has, as TABLE/ROW"
            )
        if self.figure == "curve" and row.x is None:
            faults.append(f"row '{row.name}': a curve needs 'x'")
        return faults

    def trained_for(self, row: RowConfig) -> TrainedConfig | ProjectionConfig | None:
        """What a row's method was trained with; None where nothing is trained."""
        section = NEEDS.get(row.method)
        found = getattr(self, section).get(row.adapter) if section else None
        return found
