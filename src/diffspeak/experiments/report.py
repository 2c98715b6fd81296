"""A run's report: one page, `report.html`, that needs nothing beside it, and `report.md`."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from diffspeak.errors import UsageError
from diffspeak.experiments.guesses import GuessRecord
from diffspeak.experiments.read_results import (
    Study,
    StudyRow,
    TableResult,
    read_choices,
    read_fingerprints,
    read_study,
    read_tables,
    read_versions,
)
from diffspeak.experiments.results import FIGURE, shown
from diffspeak.io.files import canonical_json, write_text
from diffspeak.scoring.published import PAPER, Table
from diffspeak.scoring.tables import markdown_table
from diffspeak.text.pages import duration, environment
from diffspeak.text.plain import escaped, one_line

HTML, MARKDOWN = "report.html", "report.md"
EXAMPLES, EVIDENCE, REASONS = 10, 5, 20
"""At most so many examples of a kind, lines of what a guess rests on, and reasons for no score."""

Cells = dict[str, str]
"""A table's line: heading to text."""


@dataclass(frozen=True)
class Paper:
    """A published table.

    Attributes:
        name: As it is called in configs.
        unit: Of its figures.
        rows: The table, a column a model.
        named: Those of its rows that the experiment names; none if it names all.
    """

    name: str
    unit: str
    rows: list[Cells]
    named: set[str]


@dataclass(frozen=True)
class Section:
    """An experiment, ready to be laid out; see `TableResult`."""

    result: TableResult
    table: list[Cells]
    made: list[Cells]
    papers: list[Paper]
    right: list[GuessRecord]
    wrong: list[GuessRecord]
    unscored: list[Cells]
    figure: Markup | None


def write_report(folder: Path) -> Path:
    """Write the report of a run, or write it anew.

    Args:
        folder: Of experiments, or of a study.

    Returns:
        `report.html` in the folder.

    Raises:
        UsageError: The folder holds no results.
        CorruptFileError: A file of results is cut off or lacks something; it is named.
    """
    tables, study = read_tables(folder), read_study(folder)
    if not tables and study is None:
        raise UsageError(
            f"{folder} holds no results to report: fill it with "
            f"`diffspeak run CONFIG.toml --out {folder}`, or give the folder of a run"
        )
    context = _context(folder, tables, study)
    pages = {
        name: made.get_template(f"{name}.jinja").render(context)
        for name, made in ((MARKDOWN, _for_markdown()), (HTML, _for_html()))
    }
    for name, text in pages.items():
        write_text(folder / name, text)
    return folder / HTML


def _context(folder: Path, tables: Sequence[TableResult], study: Study | None) -> dict[str, Any]:
    """All that the templates name."""
    bases = dict.fromkeys(Path(result.page.base).name for result in tables)
    return {
        "title": _title(tables, study, bases),
        "facts": _facts(folder, tables, bases),
        "settings": _settings(tables),
        "sections": [_section(result) for result in tables],
        "study": study,
        "study_table": [_study_cells(row) for row in study.rows] if study else [],
        "citation": PAPER,
        "evidence": EVIDENCE,
        "figure": FIGURE,
    }


def _title(tables: Sequence[TableResult], study: Study | None, bases: Mapping[str, None]) -> str:
    if study and not tables:
        return study.title
    if len(tables) == 1 and not study:
        return tables[0].page.title
    return f"Experiments on {', '.join(bases)}"


def _facts(folder: Path, tables: Sequence[TableResult], bases: Mapping[str, None]) -> Cells:
    """What was run with what, by heading; what is not known is left out."""
    lines = [line for result in tables for line in result.page.lines]
    seeds = sorted({s for f in tables for row in f.page.config.rows for s in row.seeds})
    starts = [", ".join(f"{k} {v}" for k, v in one.items()) for one in read_versions(folder)]
    facts = {
        "base": ", ".join(bases),
        "fingerprint": ", ".join(read_fingerprints(folder)),
        "judge": ", ".join(dict.fromkeys(result.page.judge for result in tables)),
        "seeds": ", ".join(map(str, seeds)),
        "guesses": str(sum(len(result.guesses) for result in tables) or ""),
        "time to guess": duration(sum(line.seconds for line in lines)) if lines else "",
        "computed with": ", ".join(f"{k} {v}" for k, v in read_choices(folder).items()),
        "versions": "; then ".join(starts),
    }
    return {name: text for name, text in facts.items() if text}


def _settings(tables: Sequence[TableResult]) -> list[tuple[str, list[str]]]:
    """Each store, adapter and projection with its settings, a line each, as `--set` has them."""
    found: dict[str, list[str]] = {}
    for config in (result.page.config for result in tables):
        for kind in ("store", "adapter", "projection"):
            for name, settings in getattr(config, f"{kind}s").items():
                found[f"{kind} {name}"] = list(_flat(settings))
    return sorted(found.items())


def _flat(value: Any, place: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{place}.{name}" if place else str(name))
    elif value is not None:
        yield f"{place} = {canonical_json(_without_folder(value))}"


def _without_folder(value: Any) -> Any:
    """A setting that can be shown to others: of a path on this machine only the name."""
    is_place = isinstance(value, str) and Path(value).is_absolute()
    return Path(value).name if is_place else value


def _section(result: TableResult) -> Section:
    encoded = None if result.figure is None else b64encode(result.figure).decode()
    return Section(
        result,
        shown(result.lines),
        _made(result),
        [_paper(name, *found) for name, found in result.papers().items()],
        result.right(EXAMPLES),
        result.wrong(EXAMPLES),
        _unscored(result),
        None if encoded is None else Markup(f"data:image/png;base64,{encoded}"),
    )


def _made(result: TableResult) -> list[Cells]:
    """How each row was made."""
    lines = zip(result.page.config.rows, result.page.lines, strict=False)
    return _with_content(
        {
            "what": row.name,
            "method": row.method,
            "trained": row.adapter or "",
            "finetunes of": row.test,
            "seeds": ", ".join(map(str, row.seeds)),
            "time to guess": duration(line.seconds),
            "question": row.question or "",
        }
        for row, line in lines
    )


def _unscored(result: TableResult) -> list[Cells]:
    """Which rows have guesses without a score, and why."""
    found = result.unscored()
    rows = [{"what": row, "why": why, "guesses": str(count)} for row, why, count in found]
    rest = sum(count for _, _, count in found[REASONS:])
    others = [{"what": "all rows", "why": "other reasons", "guesses": str(rest)}] if rest else []
    return rows[:REASONS] + others


def _paper(name: str, table: Table, named: set[str]) -> Paper:
    models = dict.fromkeys(model for row in table.values() for model in row)
    rows = [
        {name: row, **{m: f"{values[m]:.2f}" if m in values else "" for m in models}}
        for row, values in table.items()
    ]
    # No score is less than 1.
    shares = all(value < 1 for values in table.values() for value in values.values())
    unit = "share, 0 to 1" if shares else "mean score, 1 to 5"
    return Paper(name, unit, rows, named if len(named) < len(table) else set())


def _study_cells(row: StudyRow) -> Cells:
    low_high = "" if row.interval is None else f"{row.interval[0]:.1%} to {row.interval[1]:.1%}"
    value = f"{row.value:.1%}" if row.interval else f"{row.value:.6g}"
    return {"what": row.name, "value": value, "95% interval": low_high, "n": str(row.n)}


def _with_content(rows: Iterator[Cells]) -> list[Cells]:
    """Rows without the columns that are empty in all of them."""
    kept = list(rows)
    return [{key: row[key] for key in row if any(r[key] for r in kept)} for row in kept]


def _for_html() -> Environment:
    """For a web page."""
    made = _environment(_visible, autoescape=True)
    made.filters |= {"place": _place, "shade": _shade}
    return made


def _for_markdown() -> Environment:
    """For Markdown; the filter `table` takes rows of heading to text."""
    made = _environment(_in_markdown, autoescape=False)
    made.filters["table"] = _markdown
    return made


def _environment(finalize: Callable[[Any], Any], *, autoescape: bool) -> Environment:
    made = environment(Path(__file__).parent, finalize, autoescape=autoescape)
    made.filters |= {"number": _number, "percent": _percent, "score": _score}
    return made


def _visible(value: Any) -> Any:
    """A text on one line with all of it to be seen; what is no text, or markup, as it is."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    # Joiners stay within words; alone they are nothing to look at.
    return one_line(value) if any(map(str.isprintable, value)) else escaped(value)


def _in_markdown(value: Any) -> Any:
    """The same, with each character that means something in Markdown taken as it is.

    Bars are left alone: a table escapes its own.
    """
    value = _visible(value)
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return re.sub(r"([\\`*_\[\]<>~&#])", r"\\\1", value)


def _markdown(rows: Sequence[Mapping[str, str]]) -> Markup:
    safe = [{_in_markdown(k): _in_markdown(text) for k, text in row.items()} for row in rows]
    return Markup("\n".join(markdown_table(safe)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _score(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _place(score: float) -> str:
    """Where a score stands on a scale from 1 to 5, in percent of its length."""
    return f"{25 * (min(5.0, max(1.0, score)) - 1):.1f}"


def _shade(score: float) -> int:
    """The whole number nearest to a score, as in figures."""
    return min(5, max(1, int(score + 0.5)))
