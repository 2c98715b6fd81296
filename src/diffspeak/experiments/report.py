"""A run's report: one page to look at, and the same in Markdown.

Takes a run's folder, gives `report.html`, which needs nothing beside it, and `report.md`. Knows
nothing of how experiments are run.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from diffspeak.errors import UsageError
from diffspeak.experiments.filters import for_html, for_markdown
from diffspeak.experiments.findings import (
    Finding,
    Study,
    StudyRow,
    Told,
    read_choices,
    read_findings,
    read_fingerprints,
    read_study,
    read_versions,
)
from diffspeak.experiments.outcome import FIGURE, shown
from diffspeak.io.files import canonical_json, write_text
from diffspeak.scoring.published import PAPER, Table
from diffspeak.text.pages import duration

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
    """An experiment, ready to be laid out; see `Finding`."""

    finding: Finding
    table: list[Cells]
    made: list[Cells]
    papers: list[Paper]
    right: list[Told]
    wrong: list[Told]
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
    findings = read_findings(folder)
    study = None if findings else read_study(folder)
    if not findings and study is None:
        raise UsageError(
            f"{folder} holds no results to report: fill it with "
            f"`diffspeak run CONFIG.toml --out {folder}`, or give the folder of a run"
        )
    context = _context(folder, findings, study)
    pages = {
        name: environment.get_template(f"{name}.jinja").render(context)
        for name, environment in ((MARKDOWN, for_markdown()), (HTML, for_html()))
    }
    for name, text in pages.items():
        write_text(folder / name, text)
    return folder / HTML


def _context(folder: Path, findings: Sequence[Finding], study: Study | None) -> dict[str, Any]:
    """All that the templates name."""
    bases = dict.fromkeys(Path(finding.page.base).name for finding in findings)
    return {
        "title": _title(findings, study, bases),
        "facts": _facts(folder, findings, bases),
        "settings": _settings(findings),
        "sections": [_section(finding) for finding in findings],
        "study": study,
        "study_table": [_study_cells(row) for row in study.rows] if study else [],
        "citation": PAPER,
        "evidence": EVIDENCE,
        "figure": FIGURE,
    }


def _title(findings: Sequence[Finding], study: Study | None, bases: Mapping[str, None]) -> str:
    if study:
        return study.title
    if len(findings) == 1:
        return findings[0].page.title
    return f"Experiments on {', '.join(bases)}"


def _facts(folder: Path, findings: Sequence[Finding], bases: Mapping[str, None]) -> Cells:
    """What was run with what, by heading; what is not known is left out."""
    lines = [line for finding in findings for line in finding.page.lines]
    seeds = sorted({s for f in findings for row in f.page.config.rows for s in row.seeds})
    starts = [", ".join(f"{k} {v}" for k, v in one.items()) for one in read_versions(folder)]
    facts = {
        "base": ", ".join(bases),
        "fingerprint": ", ".join(read_fingerprints(folder)),
        "judge": ", ".join(dict.fromkeys(finding.page.judge for finding in findings)),
        "seeds": ", ".join(map(str, seeds)),
        "guesses": str(sum(len(finding.guesses) for finding in findings) or ""),
        "time to guess": duration(sum(line.seconds for line in lines)) if lines else "",
        "computed with": ", ".join(f"{k} {v}" for k, v in read_choices(folder).items()),
        "versions": "; then ".join(starts),
    }
    return {name: text for name, text in facts.items() if text}


def _settings(findings: Sequence[Finding]) -> list[tuple[str, list[str]]]:
    """Each store, adapter and projection with its settings, a line each, as `--set` has them."""
    found: dict[str, list[str]] = {}
    for config in (finding.page.config for finding in findings):
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


def _section(finding: Finding) -> Section:
    encoded = None if finding.figure is None else b64encode(finding.figure).decode()
    return Section(
        finding,
        shown(finding.lines),
        _made(finding),
        [_paper(name, *found) for name, found in finding.papers().items()],
        finding.right(EXAMPLES),
        finding.wrong(EXAMPLES),
        _unscored(finding),
        None if encoded is None else Markup(f"data:image/png;base64,{encoded}"),
    )


def _made(finding: Finding) -> list[Cells]:
    """How each row was made."""
    lines = zip(finding.page.config.rows, finding.page.lines, strict=False)
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


def _unscored(finding: Finding) -> list[Cells]:
    """Which rows have guesses without a score, and why."""
    found = finding.unscored()
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
