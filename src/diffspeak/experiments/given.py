"""Methods tried on a store that is there already, with an adapter that is there already.

Takes a study's config, a store and what was trained on others of its kind; gives an experiment
with a row for each method, and a workshop that hands out what it was given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffspeak.adapters import Adapter
from diffspeak.behaviors import Split
from diffspeak.errors import UsageError
from diffspeak.experiments.artifacts import Workshop
from diffspeak.experiments.config import (
    METHODS,
    ExperimentConfig,
    JudgeConfig,
    MethodName,
    ProjectionConfig,
    RowConfig,
    StoreConfig,
    TrainedConfig,
)
from diffspeak.experiments.config_errors import meant
from diffspeak.experiments.study_config import StudyConfig
from diffspeak.methods import Projection
from diffspeak.models import Base, check_base
from diffspeak.progress import Reporter
from diffspeak.store import Store

ONE = "given"
"""The name of store, adapter and projection."""


@dataclass(frozen=True)
class Given:
    """What is there already.

    Attributes:
        store: Of the finetunes to guess at.
        adapter: For DIT; None where it is not tried.
        projection: For weight-to-text; None where it is not tried.
    """

    store: Store
    adapter: Adapter | None = None
    projection: Projection | None = None


class GivenWorkshop(Workshop):
    """Hands out what is there already.

    Args:
        base: Of store and adapter.
        folder: Of the run.
        reporter: Told about progress.
        given: Store and adapter.

    Raises:
        MismatchError: One of them is of another base.
    """

    def __init__(self, base: Base, folder: Path, reporter: Reporter, given: Given) -> None:
        super().__init__(base, folder, reporter)
        self._given = given
        self._stores[ONE] = given.store
        for made in (given.adapter, given.projection):
            if made is not None:
                check_base(base.fingerprint, made.base, str(made.name))

    def adapter(self, config: ExperimentConfig, name: str, seed: int) -> Adapter:
        """The one that was given."""
        assert self._given.adapter is not None
        return self._given.adapter

    def projection(self, config: ExperimentConfig, name: str, seed: int) -> Projection:
        """The one that was given."""
        assert self._given.projection is not None
        return self._given.projection


def methods_of(config: StudyConfig, given: Given, names: Sequence[str] = ()) -> list[MethodName]:
    """The methods of these names, or every method that can be tried with what is there.

    Raises:
        UsageError: There is no method of a name, or what it needs is not there.
    """
    lacking = _lacking(config, given)
    chosen: list[MethodName] = []
    for name in names:
        found = next((method for method in METHODS if method == name), None)
        if found is None:
            raise UsageError(f"there is no method {name!r}: {meant(name, METHODS)}")
        if found in lacking:
            raise UsageError(f"{name} cannot be tried: {lacking[found]}")
        chosen.append(found)
    return chosen or [name for name in METHODS if name not in lacking]


def _lacking(config: StudyConfig, given: Given) -> dict[MethodName, str]:
    """What each method that cannot be tried lacks."""
    lacking: dict[MethodName, str] = {}
    if given.adapter is None:
        lacking["dit"] = "it needs an adapter, give --adapter"
    if given.projection is None:
        lacking["weight-to-text"] = "it needs a projection, give --projection"
    if config.behavior.name != "news":
        lacking["generated-story"] = "the finetunes were not taught news"
    if config.behavior.trigger == "none":
        for name in METHODS:
            if "-with-" in name:
                lacking[name] = "the finetunes have no trigger"
    return lacking


def experiment_on(
    config: StudyConfig,
    given: Given,
    methods: Sequence[MethodName],
    judge: JudgeConfig,
    split: Split,
    limit: int | None,
) -> ExperimentConfig:
    """An experiment with a row for each method."""
    reference = any(entry.split == "train" for entry in given.store.entries)
    adapter = TrainedConfig(stores=(ONE,), **config.adapter.model_dump())
    return ExperimentConfig(
        name="evaluation",
        title=f"{config.behavior.name}, trigger {config.behavior.trigger}: every method",
        base=config.base,
        stores={ONE: StoreConfig(behavior=config.behavior, items=config.items, diffs=config.diffs)},
        adapters={ONE: adapter},
        projections={ONE: ProjectionConfig(stores=(ONE,))},  # type: ignore[call-arg]
        judge=judge,
        tokens=config.evaluate.tokens,
        rows=tuple(
            RowConfig(
                name=method.replace("-with-", ", with ").replace("-", " "),
                test=ONE,
                method=method,
                adapter=ONE if method in ("dit", "weight-to-text") else None,
                reference=ONE if reference and method.startswith("logit-lift") else None,
                split=split,
                limit=limit,
            )
            for method in methods
        ),
    )
