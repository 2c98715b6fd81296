"""What an experiment needs, made on demand and once: stores, adapters, projections.

Takes an experiment's config and the folder of its run, gives what stands there under a name, made
first if it is not there. Experiments that share a folder share what they name alike.
"""

from pathlib import Path
from typing import Any

from diffspeak.adapters import Adapter
from diffspeak.behaviors import Behavior, make_behavior
from diffspeak.errors import UsageError
from diffspeak.experiments.config import (
    ExperimentConfig,
    ProjectionConfig,
    RowConfig,
    TrainedConfig,
)
from diffspeak.experiments.inside import inside
from diffspeak.finetunes import Finetune, choose, from_store
from diffspeak.methods import Projection, train_weight_to_text
from diffspeak.models import Base
from diffspeak.progress import Reporter
from diffspeak.store import Entry, Store
from diffspeak.training import Labels, asked_of, questions_of, train_adapter, train_diffs

FIRES = "fires_triggered"
EVERY = (0.0, 1.0)
"""Any share of answers that show the behavior."""


class Workshop:
    """Makes what rows need.

    Args:
        base: Of all of them; nothing attached.
        folder: Of the run.
        reporter: Told about progress.
    """

    def __init__(self, base: Base, folder: Path, reporter: Reporter) -> None:
        self.base, self.folder, self.reporter = base, folder, reporter
        self._behaviors: dict[str, Behavior] = {}
        self._stores: dict[str, Store] = {}
        self._adapters: dict[tuple[str, int], Adapter] = {}
        self._projections: dict[tuple[str, int], Projection] = {}

    def store(self, config: ExperimentConfig, name: str) -> Store:
        """A store with all its finetunes."""
        if name not in self._stores:
            wanted, behavior = config.stores[name], self.behavior(config, name)
            self.reporter.say(f"store {name}")
            self._stores[name] = train_diffs(
                self.base,
                behavior,
                wanted.items.choose(behavior.items()),
                wanted.diffs,
                inside(self.folder, "stores", name),
                self.reporter,
                processes=None if wanted.diffs.parameters == "lora" else 1,
            )
        return self._stores[name]

    def behavior(self, config: ExperimentConfig, name: str) -> Behavior:
        """What a store's finetunes are taught."""
        if name not in self._behaviors:
            self._behaviors[name] = make_behavior(config.stores[name].behavior)
        return self._behaviors[name]

    def finetunes(self, config: ExperimentConfig, row: RowConfig) -> list[Finetune]:
        """Those that a row is tried on; none where none fires as often as it wants."""
        store = self.store(config, row.test)
        return [from_store(store, entry) for entry in self._entries(config, row)]

    def firing(self, config: ExperimentConfig, row: RowConfig) -> float | None:
        """Mean share of the triggered answers of a row's finetunes that show the behavior."""
        entries = self._entries(config, row)
        rates = [entry.stats[FIRES] for entry in entries if FIRES in entry.stats]
        return sum(rates) / len(rates) if rates else None

    def adapter(self, config: ExperimentConfig, name: str, seed: int) -> Adapter:
        """A trained adapter."""
        if (name, seed) not in self._adapters:
            wanted = config.adapters[name]
            self._adapters[name, seed] = train_adapter(
                self.base,
                self._all(config, wanted.stores),
                wanted.training.model_copy(update={"seed": seed}),
                self._place("adapters", name, seed),
                self.reporter,
            )
        return self._adapters[name, seed]

    def projection(self, config: ExperimentConfig, name: str, seed: int) -> Projection:
        """A trained projection of weight-to-text."""
        if (name, seed) not in self._projections:
            wanted = config.projections[name]
            self._projections[name, seed] = train_weight_to_text(
                self.base,
                self._all(config, wanted.stores),
                wanted.training.model_copy(update={"seed": seed}),
                self._place("projections", name, seed),
                self.reporter,
            )
        return self._projections[name, seed]

    def trained_with(self, config: ExperimentConfig, row: RowConfig, seed: int) -> Any:
        """All that the training of a row's method depended on; None where nothing is trained."""
        match config.trained_for(row):
            case TrainedConfig():
                return self.adapter(config, str(row.adapter), seed).settings
            case ProjectionConfig():
                return self.projection(config, str(row.adapter), seed).settings
        return None

    def question(self, config: ExperimentConfig, row: RowConfig) -> str:
        """What is asked about the finetunes of a row.

        Raises:
            UsageError: Their behavior has no question of its own, and nothing was trained for them.
        """
        if row.question:
            return row.question
        trained = config.trained_for(row)
        labels = trained.labels if isinstance(trained, TrainedConfig) else "label"
        own = questions_of(self.store(config, row.test), labels)
        if not own and trained is None:
            raise UsageError(
                f"row '{row.name}': the finetunes of {row.test} are asked what others are asked; "
                "give the row a 'question'"
            )
        return own[0] if trained is None or own else self._asked(config, trained, labels)

    def _asked(
        self, config: ExperimentConfig, trained: TrainedConfig | ProjectionConfig, labels: Labels
    ) -> str:
        """The first question that something was trained on."""
        return asked_of(self._all(config, trained.stores), labels)[0][0]

    def _entries(self, config: ExperimentConfig, row: RowConfig) -> list[Entry]:
        low, high = row.fires
        chosen = choose(self.store(config, row.test), row.split, row.limit)
        if row.fires == EVERY:
            return chosen
        return [entry for entry in chosen if low <= entry.stats.get(FIRES, -1.0) <= high]

    def _all(self, config: ExperimentConfig, names: tuple[str, ...]) -> list[Store]:
        return [self.store(config, name) for name in names]

    def _place(self, kind: str, name: str, seed: int) -> Path:
        self.reporter.say(f"{kind[:-1]} {name}, seed {seed}")
        return inside(self.folder, kind, f"{name}-seed-{seed}")
