"""What came out of an experiment's rows, as files: its table, every guess, its figure.

Written into the experiment's folder: `table.md`, `table.csv`, `table.json` (rows of name, value,
aim, met, n, interval), `guesses.jsonl` and `figure.png`.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffspeak.experiments.artifacts import inside
from diffspeak.experiments.config import ExperimentConfig, RowConfig
from diffspeak.experiments.guesses import GuessRecord
from diffspeak.io.files import atomic_path, canonical_json, make_folder, write_json, write_text
from diffspeak.scoring import Row, mean_score, rate
from diffspeak.scoring.published import in_short, published_row
from diffspeak.scoring.tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Lines = Sequence[Mapping[str, Any]]
"""A table as plain data; None where there is nothing to tell."""

TABLE, GUESSES, FIGURE = "table", "guesses.jsonl", "figure.png"
CLOSE = 4.0
"""From this score on a guess is called close."""

SHADES = ("#c7cdd6", "#a9c3d8", "#7fb0cd", "#4590b5", "#17607f")
"""From 1 (unrelated) to 5 (the same): the darker, the nearer."""
LINES = ("#17607f", "#c2622d", "#5d7f2f", "#7a4f9a")
BETWEEN = (1.0, 1.5, 2.5, 3.5, 4.5, 5.01)
"""Scores are drawn as the whole number nearest to them."""


@dataclass(frozen=True)
class RowResult:
    """What came out for one row.

    Attributes:
        row: Of the config.
        seeds: For each seed the scored guesses, in the same order of finetunes; none if no
            finetune was to be guessed at.
        seconds: That all guesses took, training aside.
        fires: Mean share of the finetunes' triggered answers that show the behavior, if known.
    """

    row: RowConfig
    seeds: tuple[tuple[GuessRecord, ...], ...]
    seconds: float
    fires: float | None

    @property
    def every(self) -> list[GuessRecord]:
        """All guesses of all seeds."""
        return [one for seed in self.seeds for one in seed]

    @property
    def means(self) -> list[float]:
        """Each finetune's mean score over the seeds that scored it."""
        found = []
        for column in zip(*self.seeds, strict=True):
            scores = [one.score for one in column if one.score is not None]
            if scores:
                found.append(sum(scores) / len(scores))
        return found

    @property
    def by_seed(self) -> list[float]:
        """Mean score of each seed."""
        scores = [[one.score for one in seed if one.score is not None] for seed in self.seeds]
        return [sum(one) / len(one) for one in scores if one]

    @property
    def unscored(self) -> int:
        """Guesses without a score."""
        return sum(one.score is None for one in self.every)


def write_table_files(
    folder: Path, config: ExperimentConfig, judge: str, base: str, results: Sequence[RowResult]
) -> Path:
    """Write all files of a table; gives its page, `table.md`.

    Args:
        folder: Of the run; the experiment gets a folder of its own in it.
        config: What was run.
        judge: Who scored.
        base: Name of the base.
        results: What came out, one for each row.
    """
    own = inside(folder, config.name)
    make_folder(own)
    lines = [asdict(one) for result in results for one in result.every]
    write_text(own / GUESSES, "".join(canonical_json(line) + "\n" for line in lines))
    rows = [line_of(result, config.judge.resamples) for result in results]
    _draw(own / FIGURE, config, results, rows)
    write_text(own / f"{TABLE}.csv", _csv(rows))
    unused = set() if config.behavior else {"behavior", "items", "diffs", "adapter"}
    about = {"title": config.title, "about": config.about, "base": base, "judge": judge}
    standard = [asdict(row) | {"met": row.met} for one in results for row in _standard(one)]
    settings = config.model_dump(mode="json", exclude=unused)
    content = {**about, "rows": standard, "lines": rows, "config": settings}
    write_json(own / f"{TABLE}.json", content)
    who = f"Base: {Path(base).name}. Judge: {judge}."
    heading = [f"# {config.title}", "", *filter(None, [config.about]), "", who, ""]
    page = own / f"{TABLE}.md"
    write_text(page, "\n".join([*heading, *markdown_table(shown(rows)), ""]))
    return page


def line_of(result: RowResult, resamples: int) -> dict[str, Any]:
    """A row of the table as plain data; None where there is nothing to tell."""
    n = len(result.seeds[0]) if result.seeds else 0
    mean = mean_score(result.row.name, result.means, resamples) if result.means else None
    interval = mean.interval if mean else None
    every, scores = result.every, [s.score for s in result.every if s.score is not None]
    return {
        "name": result.row.name,
        "finetunes": n,
        "seeds": len(result.seeds),
        "mean score": mean and mean.value,
        "low": interval and interval[0],
        "high": interval and interval[1],
        "by seed": result.by_seed,
        "close": sum(s >= CLOSE for s in scores) / len(scores) if scores else None,
        "exact": sum(one.exact for one in every) / len(every) if every else None,
        "unscored": result.unscored,
        "fires": result.fires,
        "seconds": result.seconds,
        "x": result.row.x,
        "curve": result.row.curve,
        "paper": in_short(published_row(result.row.paper)) if result.row.paper else None,
    }


def _standard(result: RowResult) -> list[Row]:
    """The rows that every table of results has."""
    if not result.every:
        return []
    rows = [mean_score(f"{result.row.name}: mean score", result.means)] if result.means else []
    hits = [one.exact for one in result.seeds[0]]
    return [*rows, rate(f"{result.row.name}: named exactly, first seed", hits)]


def shown(rows: Lines) -> list[dict[str, str]]:
    """The lines for people: what no row has is left out."""
    cells = []
    for row in rows:
        interval = "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
        cells.append(
            {
                "what": row["name"],
                "mean score": _number(row["mean score"]),
                "95% interval": interval,
                "by seed": ", ".join(map(_number, row["by seed"])) if row["seeds"] > 1 else "",
                "at least 4": _percent(row["close"]),
                "exact": _percent(row["exact"]),
                "unscored": str(row["unscored"] or ""),
                "fires": _percent(row["fires"]),
                "finetunes": str(row["finetunes"]),
                "paper": row["paper"] or "",
            }
        )
    return [{key: row[key] for key in row if any(other[key] for other in cells)} for row in cells]


def _csv(rows: Lines) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {key: json.dumps(v) if isinstance(v, list) else v for key, v in row.items()}
        )
    return buffer.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _draw(path: Path, config: ExperimentConfig, results: Sequence[RowResult], rows: Lines) -> None:
    """Draw a table's figure: how scores are spread, a bar a row, or mean scores along an axis."""
    from matplotlib.figure import Figure

    curve = config.figure == "curve"
    height = 4.2 if curve else 1.3 + 0.42 * len(results)
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    if curve:
        _curves(axes, config, rows)
    else:
        _bars(axes, results, rows)
    axes.set_title(config.title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as made:
        figure.savefig(made, dpi=130, format="png")


def _bars(axes: "Axes", results: Sequence[RowResult], rows: Lines) -> None:
    from matplotlib.patches import Patch

    for place, one in enumerate(results):
        scores = [each.score for each in one.every if each.score is not None]
        left = 0.0
        for low, high, shade in zip(BETWEEN[:-1], BETWEEN[1:], SHADES, strict=True):
            share = sum(low <= score < high for score in scores) / max(1, len(scores))
            axes.barh(place, share, left=left, color=shade, height=0.72)
            left += share
        mean = rows[place]["mean score"]
        axes.text(1.015, place, "none" if mean is None else f"{mean:.2f}", va="center", fontsize=9)
    axes.set_yticks(range(len(results)), [one.row.name for one in results], fontsize=9)
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


def _curves(axes: "Axes", experiment: ExperimentConfig, rows: Lines) -> None:
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
