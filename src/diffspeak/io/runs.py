"""A run's folder: the config it ran with, the library versions, its metrics, its loss plot.

Takes the resolved config and numbers as they come, gives `config.json`, `versions.json`,
`metrics.jsonl` and `loss.png`. Knows nothing of what is run, and nothing of torch.
"""

import io
import json
import logging
import math
import platform
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError
from diffspeak.io.files import (
    append_json,
    atomic_path,
    canonical_json,
    exclusive,
    make_folder,
    parse_json,
    read_json,
    whole_lines,
    write_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONFIG = "config.json"
VERSIONS = "versions.json"
METRICS = "metrics.jsonl"
PLOT = "loss.png"
# Not the name of a store's lock: a store may lie in the same folder.
LOCK = ".run.lock"
LIBRARIES = ("diffspeak", "torch", "transformers", "peft", "safetensors", "numpy")

log = logging.getLogger(__name__)

Metric = dict[str, Any]
"""One line of metrics: `stage`, `step` and the numbers that were logged with them."""

Curves = dict[str, dict[str, dict[int, float]]]
"""Stage to series to step to loss."""


class Run:
    """A run's folder, held open and locked while the run lasts.

    Use it as `with Run(folder, config) as run: run.log(stage="adapter", step=1, loss=2.0)`.

    Attributes:
        folder: Where everything of the run is kept.
        config: The resolved config, plain data.
        free: Sections that may differ when the run goes on; the latest ones are kept.
    """

    def __init__(
        self, folder: str | Path, config: Mapping[str, Any], free: Collection[str] = ()
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.config = config
        self.free = free
        self._closing = ExitStack()

    def __enter__(self) -> "Run":
        """Create the folder, or go on in it.

        Raises:
            LockedError: Another process runs there.
            MismatchError: Another config ran there.
        """
        make_folder(self.folder)
        with ExitStack() as undo:
            undo.enter_context(exclusive(self.folder / LOCK))
            self._refuse_other_config()
            self._settle_versions()
            # Nothing yet: the file is there from the start, without a torn last line.
            append_json(self.folder / METRICS, ())
            # Last: where there is a config, all else of a run that was begun is there, too.
            self._keep_config()
            self._closing = undo.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Release the lock."""
        self._closing.close()

    def log(self, *, stage: str, step: int, **numbers: float) -> None:
        """Add a line to the metrics, on its way to disk at once.

        Args:
            stage: The stage of the run, such as "diffs".
            step: A count that goes on through the whole stage; a step that is done again after a
                resume takes the place of the first one in the plot.
            **numbers: What was measured; `loss` and names that end in `_loss`, in nats per
                answer token, are plotted.
        """
        values = {name: _plain(value) for name, value in numbers.items()}
        append_json(self.folder / METRICS, [{"stage": stage, "step": step, **values}])

    def _refuse_other_config(self) -> None:
        path = self.folder / CONFIG
        if not path.exists():
            return
        found = read_json(path)
        if not isinstance(found, dict):
            raise CorruptFileError(f"{path} holds no config: restore it, or use another folder")
        named = differences(self._fixed(found), self._fixed(parse_json(self._text())))
        if named:
            raise MismatchError(
                f"{self.folder} holds a run with another config: {', '.join(named)}; "
                "go on with the same config, or give another folder"
            )

    def _keep_config(self) -> None:
        path, text = self.folder / CONFIG, self._text()
        if not path.exists() or read_json(path) != parse_json(text):
            write_text(path, text)

    def _text(self) -> str:
        return json.dumps(self.config, indent=2, sort_keys=True, allow_nan=False) + "\n"

    def _fixed(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The sections that may not change."""
        return {name: section for name, section in config.items() if name not in self.free}

    def _settle_versions(self) -> None:
        """Keep every set of versions that the run was started with, in order."""
        path, now = self.folder / VERSIONS, library_versions()
        past = read_json(path) if path.exists() else []
        if past and past[-1] != now:
            named = ", ".join(differences(past[-1], now))
            log.warning("this run goes on with other libraries, results may differ: %s", named)
        if not past or past[-1] != now:
            write_text(path, json.dumps([*past, now], indent=2, sort_keys=True) + "\n")


def library_versions() -> dict[str, str]:
    """Python and the libraries that results depend on, with their versions."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name what differs between two JSON objects, `section.key (found there, wanted now)` each."""
    named = []
    for key in sorted(found.keys() | wanted.keys()):
        old, new = found.get(key), wanted.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            named += differences(old, new, f"{prefix}{key}.")
        elif key not in found or key not in wanted or canonical_json(old) != canonical_json(new):
            before = _short(old) if key in found else "absent"
            after = _short(new) if key in wanted else "absent"
            named.append(f"{prefix}{key} ({before} there, {after} now)")
    return named


def _short(value: object) -> str:
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(value: float) -> float | str:
    """A number as JSON; what is not finite is written as text, for JSON has no word for it."""
    number = value if isinstance(value, int) else float(value)
    return number if math.isfinite(number) else str(number)


def read_metrics(folder: str | Path) -> list[Metric]:
    """All lines of a run's metrics; a torn last line, as a run leaves that is killed, is no line.

    Raises:
        DiffspeakError: There are no metrics.
        CorruptFileError: Another line cannot be read.
    """
    path = Path(folder) / METRICS
    return [_metric(path, number, line) for number, line in enumerate(whole_lines(path), 1)]


def _metric(path: Path, number: int, line: bytes) -> Metric:
    try:
        stage, step = (content := parse_json(line)).pop("stage"), content.pop("step")
        numbers = {
            name: float(value) if isinstance(value, str) else value
            for name, value in content.items()
        }
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CorruptFileError(
            f"{path}, line {number}: not a line of metrics; remove it"
        ) from error
    return {"stage": stage, "step": step, **numbers}


def plot_losses(folder: str | Path) -> Path:
    """Draw the losses of a run into its `loss.png`, a panel for each stage.

    Returns:
        The picture's path.

    Raises:
        DiffspeakError: No loss was logged.
    """
    # Half a second to import, which every other use of this file is spared.
    from matplotlib.figure import Figure

    curves = _curves(read_metrics(folder))
    if not curves:
        raise DiffspeakError(f"{folder} has no losses to plot: log one with run.log(loss=...)")
    figure = Figure(figsize=(5.5 * len(curves), 4), layout="constrained", dpi=130)
    for axes, (stage, series) in zip(
        figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True
    ):
        _draw(axes, stage, series)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    path = Path(folder) / PLOT
    with atomic_path(path) as temporary:
        temporary.write_bytes(picture.getvalue())
    return path


def _curves(metrics: list[Metric]) -> Curves:
    curves: Curves = {}
    for metric in metrics:
        for name, value in metric.items():
            if name == "loss" or name.endswith("_loss"):
                series = curves.setdefault(metric["stage"], {}).setdefault(name, {})
                series[metric["step"]] = value
    return curves


def _draw(axes: "Axes", stage: str, series: dict[str, dict[int, float]]) -> None:
    from matplotlib.ticker import LogLocator

    for name, points in sorted(series.items()):
        steps = sorted(points)
        marker = "o" if len(steps) < 25 else None
        axes.plot(steps, [points[step] for step in steps], label=name, marker=marker, markersize=3)
    values = [v for points in series.values() for v in points.values() if math.isfinite(v)]
    # A log axis shows a fall over several powers of ten, and cannot show zero.
    if values and min(values) > 0 and max(values) > 10 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.set(title=stage, xlabel="step", ylabel="loss (nats per answer token)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
