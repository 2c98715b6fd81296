"""What the audit is measured with: finetunes, an adapter, its calibration, kept in a run's folder.

Takes `configs/audit.toml` and a folder, makes what is not there. Knows nothing of figures.
"""

from functools import cached_property
from pathlib import Path

from diffspeak.adapters import Adapter, load_adapter, save_calibrations
from diffspeak.audit.calibrate import calibrated
from diffspeak.experiments.artifacts import Artifacts
from diffspeak.experiments.read import load_experiments
from diffspeak.finetunes import Finetune, from_store
from diffspeak.models import Base, load_base
from diffspeak.progress import Reporter

CONFIG = Path("configs/audit.toml")
ADAPTER = "audit"
POSITIVES, NEGATIVES = "calibration-topics", ("ordinary", "facts")
"""Stores of the calibration."""


class Made:
    """Stores, adapter and calibration, made on demand.

    Args:
        folder: Of the run.
        reporter: Told about progress.
    """

    def __init__(self, folder: Path, reporter: Reporter) -> None:
        self.folder, self.reporter = folder, reporter
        (self.config,) = load_experiments(CONFIG)

    @property
    def kept(self) -> Path:
        """Folder of what was measured."""
        made = self.folder / "measured"
        made.mkdir(parents=True, exist_ok=True)
        return made

    @cached_property
    def base(self) -> Base:
        """The pocket base."""
        return load_base("pocket")

    @cached_property
    def artifacts(self) -> Artifacts:
        """Makes stores and adapters."""
        return Artifacts(self.config, self.base, self.folder, self.reporter)

    def finetunes(self, store: str, split: str, limit: int | None = None) -> list[Finetune]:
        """The first finetunes of a split of a store, by its order."""
        opened = self.artifacts.store(store)
        found = [entry for entry in opened.entries if entry.split == split]
        return [from_store(opened, entry) for entry in found if entry.kind != "failed"][:limit]

    def rates(self, store: str) -> dict[str, dict[str, float]]:
        """How often each finetune of a store fires, by its id."""
        opened = self.artifacts.store(store)
        return {entry.id: dict(entry.stats) for entry in opened.entries}

    @cached_property
    def adapter(self) -> Adapter:
        """Trained, and calibrated on the calibration split."""
        trained = self.artifacts.adapter(ADAPTER, 0)
        folder = Path(trained.name)
        if trained.calibrations.audit is None:
            made = calibrated(
                self.base,
                trained,
                self.finetunes(POSITIVES, "calibration"),
                {name: self.finetunes(name, "calibration") for name in NEGATIVES},
                kept=self.kept / "calibration.jsonl",
                reporter=self.reporter,
            )
            save_calibrations(folder, trained.diff, made.calibrations)
        return load_adapter(folder, self.base)
