"""What came out of an experiment, as files: its table, every guess, its figure.

Takes an experiment and what each row's finetunes were guessed to be, gives `table.md`,
`table.csv`, `table.json` (rows of name, value, aim, met, n, interval), `guesses.jsonl` and
`figure.png` in the experiment's folder.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffspeak.experiments.config import ExperimentConfig, RowConfig
from diffspeak.experiments.figures import draw
from diffspeak.experiments.guesses import Scored
from diffspeak.experiments.inside import inside
from diffspeak.io.files import canonical_json, make_folder, write_json, write_text
from diffspeak.scoring import Row, mean_score, rate
from diffspeak.scoring.published import in_short, published_row
from diffspeak.scoring.tables import markdown_table

TABLE, GUESSES, FIGURE = "table", "guesses.jsonl", "figure.png"
CLOSE = 4.0
"""From this score on a guess is called close."""


@dataclass(frozen=True)
class Told:
    """What came out for one row.

    Attributes:
        row: Of the config.
        seeds: For each seed the scored guesses, in the same order of finetunes; none if no
            finetune was to be guessed at.
        seconds: That all guesses took, training aside.
        fires: Mean share of the finetunes' triggered answers that show the behavior, if known.
    """

    row: RowConfig
    seeds: tuple[tuple[Scored, ...], ...]
    seconds: float
    fires: float | None

    @property
    def every(self) -> list[Scored]:
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


@dataclass(frozen=True)
class Outcome:
    """What came out of an experiment.

    Attributes:
        judge: Who scored.
        base: Name of the base.
        told: One for each row.
    """

    judge: str
    base: str
    told: Sequence[Told]


def write_outcome(folder: Path, experiment: ExperimentConfig, outcome: Outcome) -> Path:
    """Write all files of an experiment; gives its page, `table.md`.

    Args:
        folder: Of the run; the experiment gets a folder of its own in it.
        experiment: What was run.
        outcome: What came out.
    """
    own = inside(folder, experiment.name)
    make_folder(own)
    lines = [{"row": t.row.name, **asdict(one)} for t in outcome.told for one in t.every]
    write_text(own / GUESSES, "".join(canonical_json(line) + "\n" for line in lines))
    rows = [line_of(told, experiment.judge.resamples) for told in outcome.told]
    draw(own / FIGURE, experiment, outcome.told, rows)
    write_text(own / f"{TABLE}.csv", _csv(rows))
    standard = [asdict(row) | {"met": row.met} for t in outcome.told for row in _standard(t)]
    write_json(
        own / f"{TABLE}.json",
        {
            "title": experiment.title,
            "about": experiment.about,
            "base": outcome.base,
            "judge": outcome.judge,
            "rows": standard,
            "lines": rows,
            "config": experiment.model_dump(mode="json"),
        },
    )
    page = own / f"{TABLE}.md"
    write_text(page, "\n".join([*_heading(experiment, outcome), *markdown_table(shown(rows)), ""]))
    return page


def line_of(told: Told, resamples: int) -> dict[str, Any]:
    """A row of the table as plain data; None where there is nothing to tell."""
    n = len(told.seeds[0]) if told.seeds else 0
    mean = mean_score(told.row.name, told.means, resamples) if told.means else None
    interval = mean.interval if mean else None
    every, scores = told.every, [s.score for s in told.every if s.score is not None]
    return {
        "name": told.row.name,
        "finetunes": n,
        "seeds": len(told.seeds),
        "mean score": mean and mean.value,
        "low": interval and interval[0],
        "high": interval and interval[1],
        "by seed": told.by_seed,
        "close": sum(s >= CLOSE for s in scores) / len(scores) if scores else None,
        "exact": sum(one.exact for one in every) / len(every) if every else None,
        "unscored": told.unscored,
        "fires": told.fires,
        "seconds": told.seconds,
        "x": told.row.x,
        "curve": told.row.curve,
        "paper": in_short(published_row(told.row.paper)) if told.row.paper else None,
    }


def _standard(told: Told) -> list[Row]:
    """The rows that every table of results has."""
    if not told.every:
        return []
    rows = [mean_score(f"{told.row.name}: mean score", told.means)] if told.means else []
    hits = [one.exact for one in told.seeds[0]]
    return [*rows, rate(f"{told.row.name}: named exactly, first seed", hits)]


def _heading(experiment: ExperimentConfig, outcome: Outcome) -> list[str]:
    judge = f"Base: {Path(outcome.base).name}. Judge: {outcome.judge}."
    return [f"# {experiment.title}", "", *filter(None, [experiment.about]), "", judge, ""]


def shown(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The lines for people: what no row has is left out."""
    told = []
    for row in rows:
        interval = "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
        told.append(
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
    return [{key: row[key] for key in row if any(other[key] for other in told)} for row in told]


def _csv(rows: Sequence[dict[str, Any]]) -> str:
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
