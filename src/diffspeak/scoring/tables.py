"""A results table on disk: JSON for programs and Markdown for people, from the same rows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffspeak.io.files import write_json, write_text
from diffspeak.scoring.scores import Row


def write_table(path: Path, title: str, rows: Sequence[Row], about: dict[str, Any]) -> None:
    """Write `path` (Markdown) and the same with the suffix `.json` beside it.

    Args:
        path: The Markdown file.
        title: Heading of the page.
        rows: The table.
        about: What else belongs on the page, such as settings and examples, by heading: text, or
            lines of a list.
    """
    plain = [{**asdict(row), "met": row.met} for row in rows]
    write_json(path.with_suffix(".json"), {"title": title, "rows": plain, "about": about})
    write_text(path, "\n".join([f"# {title}", "", *table_lines(rows), *_sections(about), ""]))


def table_lines(rows: Sequence[Row]) -> list[str]:
    """The rows as a Markdown table; columns of aims only where there are some."""
    aims = any(row.aim is not None for row in rows)
    head = ["what", "value", "95% interval", "n", *(["aim", "met"] if aims else [])]
    body = [_cells(row, aims=aims) for row in rows]
    return [_line(head), _line(["---"] * len(head)), *map(_line, body)]


def markdown_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Rows of the same keys as a Markdown table."""
    head = list(rows[0])
    return [_line(head), _line(["---"] * len(head)), *(_line(list(row.values())) for row in rows)]


def _cells(row: Row, *, aims: bool) -> list[str]:
    low_high = " to ".join(_told(row, end) for end in row.interval or ())
    cells = [row.name, _told(row, row.value), low_high, str(row.n)]
    if aims:
        cells += [_bound(row), {None: "", True: "yes", False: "no"}[row.met]]
    return cells


def _bound(row: Row) -> str:
    if row.aim is None:
        return ""
    share = row.interval and not row.unit
    aim = f"{100 * row.aim:.4g}%" if share else _told(row, row.aim)
    return f"{'at most' if row.below else 'at least'} {aim}"


def _told(row: Row, value: float) -> str:
    """A value of a row: with its unit, as a percentage, or as it is."""
    if row.unit:
        return f"{value:.3g} {row.unit}"
    return f"{value:.1%}" if row.interval else f"{value:.6g}"


def _line(cells: Sequence[str]) -> str:
    """One line of a table; line breaks and bars within a cell would end it."""
    safe = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(safe)} |"


def _sections(about: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for heading, content in about.items():
        items = [content] if isinstance(content, str) else [f"- {item}" for item in content]
        lines += ["", f"## {heading}", "", *items]
    return lines
