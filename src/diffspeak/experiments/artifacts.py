"""What an experiment needs, made or opened on demand and once: base, stores, adapters, projections.

A recipe of the config is made in the run's folder, or read where it was made already; a path is
opened. Experiments that share a folder share what they name alike.
"""

import copy
import logging
from pathlib import Path
from typing import Any, TypeVar

import torch

from diffspeak.adapters import Adapter, load_adapter
from diffspeak.behaviors import Behavior, make_behavior
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.experiments.config import (
    ADAPTER,
    STORE,
    BaseConfig,
    ExperimentConfig,
    RowConfig,
    StoreConfig,
    TrainedConfig,
    training_of,
)
from diffspeak.finetunes import Finetune, choose, from_store
from diffspeak.io.files import make_folder, read_json, write_json
from diffspeak.methods import (
    Projection,
    WeightToTextConfig,
    check_projection,
    load_projection,
    train_weight_to_text,
)
from diffspeak.models import Base, check_answer, check_base, config_of, load_base, write_small
from diffspeak.progress import Reporter
from diffspeak.store import Entry, Store, open_store
from diffspeak.training import (
    AdapterConfig,
    Labels,
    asked_of,
    check_adapter,
    check_diffs,
    questions_of,
    train_adapter,
    train_diffs,
)

CHOICES, SMALL = "choices.json", "base"
FIRES = "fires_triggered"
EVERY = (0.0, 1.0)
"""Any share of answers that show the behavior."""

Opened = TypeVar("Opened", Adapter, Projection)

log = logging.getLogger(__name__)


def load_study_base(config: BaseConfig, folder: Path) -> Base:
    """Load the base of a run that is kept in `folder`.

    Raises:
        UsageError: The base is unknown, or this machine lacks what the run was begun with.
        CorruptFileError: The folder's `choices.json` was changed.
    """
    path, options = folder / CHOICES, config.model_dump(exclude={"shrink"})
    kept = read_json(path) if path.exists() else {}
    if not isinstance(kept, dict):
        raise CorruptFileError(f"{path} holds no choices: delete it to have them made again")
    for name in ("dtype", "device", "attention"):
        if options[name] == "auto":
            options[name] = kept.get(name, "auto")
    if config.shrink:
        options |= {"source": folder / SMALL, "revision": None}
        make_folder(folder)
        write_small(config_of(config.source, config.revision), folder / SMALL)
    log.info("loading the base %s", options["source"])
    base = load_base(**options)
    if kept.get("threads") and base.device.type == "cpu":
        # Sums are split among threads, so their number decides the last bits.
        torch.set_num_threads(kept["threads"])
    if not kept:
        make_folder(folder)
        write_json(path, base.choices)
    return base


class Artifacts:
    """Makes or opens what a config names.

    Args:
        config: Names all of it.
        base: Of all of it; nothing attached.
        folder: Of the run.
        reporter: Told about progress.
    """

    def __init__(
        self, config: ExperimentConfig, base: Base, folder: Path, reporter: Reporter
    ) -> None:
        self.config, self.base, self.folder, self.reporter = config, base, folder, reporter
        self._behaviors: dict[str, Behavior] = {}
        self._stores: dict[str, Store] = {}
        self._adapters: dict[tuple[str, int], Adapter] = {}
        self._projections: dict[tuple[str, int], Projection] = {}

    def for_config(self, config: ExperimentConfig) -> "Artifacts":
        """The same for another experiment of the run; what they name alike is shared."""
        other = copy.copy(self)
        other.config = config
        return other

    def check(self) -> None:
        """Refuse what the base has no room for or does not fit, before anything is made.

        Raises:
            UsageError: A rank, or the longest answer, is too large.
            MismatchError: Something that is there already is of another base.
        """
        for name, store in self.config.known_stores.items():
            self.store(name) if store.path else check_diffs(self.base, store.diffs)
        for name, adapter in self.config.known_adapters.items():
            self.adapter(name, 0) if adapter.path else check_adapter(self.base, adapter)
        for name, projection in self.config.projections.items():
            if projection.path:
                self.projection(name, 0)
            else:
                check_projection(self.base, projection)
        check_answer(self.base.model, self.config.evaluate.tokens, "evaluate.tokens")

    def store(self, name: str) -> Store:
        """A store with all its finetunes."""
        if name not in self._stores:
            wanted = self.config.known_stores[name]
            self._stores[name] = (
                open_store(wanted.path) if wanted.path else self._made_store(name, wanted)
            )
        return self._stores[name]

    def _made_store(self, name: str, wanted: StoreConfig) -> Store:
        self.reporter.say(f"store {name}")
        own = name not in self.config.stores
        place = inside(self.folder, *((STORE,) if own else ("stores", name)))
        behavior = self.behavior(name)
        return train_diffs(
            self.base,
            behavior,
            wanted.items.choose(behavior.items()),
            wanted.diffs,
            place,
            self.reporter,
            processes=None if wanted.diffs.parameters == "lora" else 1,
        )

    def behavior(self, name: str) -> Behavior:
        """What a store's finetunes are taught.

        Raises:
            UsageError: The store is given by its path, and the config does not say.
        """
        if name not in self._behaviors:
            config = self.config.known_stores[name].behavior
            if config is None:
                raise UsageError(
                    f"a method asks what the behavior of the store {name} asks: say which one it "
                    f"is in [stores.{name}.behavior]"
                )
            self._behaviors[name] = make_behavior(config)
        return self._behaviors[name]

    def adapter(self, name: str, seed: int) -> Adapter:
        """A trained adapter; one that is opened is the same for every seed."""
        if (name, seed) not in self._adapters:
            wanted = self.config.known_adapters[name]
            self._adapters[name, seed] = (
                self._fitting(load_adapter(wanted.path))
                if wanted.path
                else train_adapter(
                    self.base,
                    self._all(wanted.stores),
                    training_of(AdapterConfig, wanted, seed=seed),
                    self._place("adapters", name, seed),
                    self.reporter,
                )
            )
        return self._adapters[name, seed]

    def projection(self, name: str, seed: int) -> Projection:
        """A trained projection of weight-to-text; one that is opened is the same for every seed."""
        if (name, seed) not in self._projections:
            wanted = self.config.projections[name]
            self._projections[name, seed] = (
                self._fitting(load_projection(wanted.path))
                if wanted.path
                else train_weight_to_text(
                    self.base,
                    self._all(wanted.stores),
                    training_of(WeightToTextConfig, wanted, seed=seed),
                    self._place("projections", name, seed),
                    self.reporter,
                )
            )
        return self._projections[name, seed]

    def _fitting(self, opened: Opened) -> Opened:
        check_base(self.base.fingerprint, opened.base, str(opened.name))
        return opened

    def finetunes(self, row: RowConfig) -> list[Finetune]:
        """Those that a row is tried on; none where none fires as often as it wants."""
        store = self.store(row.test)
        return [from_store(store, entry) for entry in self._entries(row)]

    def firing(self, row: RowConfig) -> float | None:
        """Mean share of the triggered answers of a row's finetunes that show the behavior."""
        rates = [entry.stats[FIRES] for entry in self._entries(row) if FIRES in entry.stats]
        return sum(rates) / len(rates) if rates else None

    def trained_with(self, row: RowConfig, seed: int) -> Any:
        """All that the training of a row's method depended on; None where nothing is trained."""
        if row.adapter is None:
            return None
        made = self.adapter if row.method == "dit" else self.projection
        return made(row.adapter, seed).settings

    def question(self, row: RowConfig) -> str:
        """What is asked about the finetunes of a row.

        Raises:
            UsageError: Their behavior has no question of its own, and nothing was trained for them.
        """
        if row.question:
            return row.question
        trained = self.config.trained_for(row)
        labels: Labels = trained.labels if isinstance(trained, TrainedConfig) else "label"
        known: tuple[str, ...] = ()
        if isinstance(trained, TrainedConfig) and trained.path:
            opened = self.adapter(str(row.adapter), row.seeds[0])
            labels, known = opened.settings.get("labels", labels), tuple(opened.questions)
        if own := questions_of(self.store(row.test), labels) or known:
            return own[0]
        if trained is None or trained.path:
            raise UsageError(
                f"row '{row.name}': the finetunes of {row.test} are asked what others are asked; "
                "give the row a 'question'"
            )
        return asked_of(self._all(trained.stores), labels)[0][0]

    def _entries(self, row: RowConfig) -> list[Entry]:
        default, (low, high) = self.config.evaluate, row.fires
        chosen = choose(
            self.store(row.test), row.split or default.split, row.limit or default.limit
        )
        if row.fires == EVERY:
            return chosen
        return [entry for entry in chosen if low <= entry.stats.get(FIRES, -1.0) <= high]

    def _all(self, names: tuple[str, ...]) -> list[Store]:
        return [self.store(name) for name in names]

    def _place(self, kind: str, name: str, seed: int) -> Path:
        self.reporter.say(f"{kind[:-1]} {name}, seed {seed}")
        own = kind == "adapters" and name not in self.config.adapters
        if own and seed == self.config.adapter.seed:
            return inside(self.folder, ADAPTER)
        return inside(self.folder, kind, f"{name}-seed-{seed}")


def inside(run: Path, *parts: str) -> Path:
    """A place in a run's folder.

    Raises:
        UsageError: A part, or a link that is there already, leads out of the folder.
    """
    place = run.joinpath(*parts)
    try:
        stays = place.resolve().is_relative_to(run.resolve())
    except (OSError, RuntimeError):  # A link that leads to itself; what is raised depends.
        stays = False
    if not stays:
        raise UsageError(
            f"{place} leads out of {run}, where nothing is written: remove the link, or give "
            "another folder as --out"
        )
    return place
