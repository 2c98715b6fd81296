"""An experiment's figure: how scores are spread, a bar a row, or mean scores along an axis.

Takes rows, gives a PNG. Knows nothing of how scores came about.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffspeak.io.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from diffspeak.experiments.config import ExperimentConfig
    from diffspeak.experiments.outcome import Told

SHADES = ("#c7cdd6", "#a9c3d8", "#7fb0cd", "#4590b5", "#17607f")
"""From 1 (unrelated) to 5 (the same): the darker, the nearer."""
LINES = ("#17607f", "#c2622d", "#5d7f2f", "#7a4f9a")
BETWEEN = (1.0, 1.5, 2.5, 3.5, 4.5, 5.01)
"""Scores are drawn as the whole number nearest to them."""


def draw(
    path: Path,
    experiment: "ExperimentConfig",
    told: Sequence["Told"],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Draw an experiment's figure.

    Args:
        path: PNG.
        experiment: Says which kind of figure.
        told: What came out for each row.
        rows: The same, summed up.
    """
    from matplotlib.figure import Figure

    curve = experiment.figure == "curve"
    height = 4.2 if curve else 1.3 + 0.42 * len(told)
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    if curve:
        _curves(axes, experiment, rows)
    else:
        _bars(axes, told, rows)
    axes.set_title(experiment.title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as made:
        figure.savefig(made, dpi=130, format="png")


def _bars(axes: "Axes", told: Sequence["Told"], rows: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.patches import Patch

    for place, one in enumerate(told):
        scores = [each.score for each in one.every if each.score is not None]
        left = 0.0
        for low, high, shade in zip(BETWEEN[:-1], BETWEEN[1:], SHADES, strict=True):
            share = sum(low <= score < high for score in scores) / max(1, len(scores))
            axes.barh(place, share, left=left, color=shade, height=0.72)
            left += share
        mean = rows[place]["mean score"]
        axes.text(1.015, place, "none" if mean is None else f"{mean:.2f}", va="center", fontsize=9)
    axes.set_yticks(range(len(told)), [one.row.name for one in told], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_xlabel("share of guesses by score; mean score at the right")
    names = ["1 unrelated", "2", "3", "4", "5 the same"]
    handles = [Patch(color=c, label=n) for c, n in zip(SHADES, names, strict=True)]
    axes.figure.legend(
        handles=handles,
        ncols=5,
        loc="outside lower center",
        frameon=False,
        fontsize=8,
        handlelength=1,
    )


def _curves(
    axes: "Axes", experiment: "ExperimentConfig", rows: Sequence[Mapping[str, Any]]
) -> None:
    if experiment.logarithmic:
        axes.set_xscale("log", base=2)
    curves = dict.fromkeys(row["curve"] for row in rows)
    for color, name in zip(LINES * len(curves), curves, strict=False):
        own = [row for row in rows if row["curve"] == name and row["mean score"] is not None]
        own.sort(key=lambda row: row["x"])
        x, mean = [row["x"] for row in own], [row["mean score"] for row in own]
        axes.fill_between(
            x, [r["low"] for r in own], [r["high"] for r in own], color=color, alpha=0.15, lw=0
        )
        axes.plot(x, mean, color=color, marker="o", ms=4, label=name)
    ticks = sorted({row["x"] for row in rows})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0.9, 5.1)
    axes.set_ylabel("mean score, 1 to 5, with 95% interval")
    axes.set_xlabel(experiment.axis)
    if any(curves):
        axes.legend(frameon=False, fontsize=9)
