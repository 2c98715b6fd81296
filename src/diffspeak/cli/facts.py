"""Facts, as nested plain data, printed for people or as one line of JSON.

A value is beside its name, a dict gets a heading, a list of dicts is a table.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Facts = dict[str, Any]


def to_json(facts: Facts) -> str:
    """One line of JSON; what is not finite becomes text, for JSON has no word for it."""
    return json.dumps(_plain(facts), ensure_ascii=False, allow_nan=False)


def show_facts(console: "Console", facts: Facts) -> None:
    """Print facts: names and values first, sections after them."""
    from rich.padding import Padding

    shown = {name: value for name, value in facts.items() if value not in ([], {})}
    sections = {name: value for name, value in shown.items() if _is_section(value)}
    _print_pairs(console, {n: value for n, value in shown.items() if n not in sections}, "")
    for name, value in sections.items():
        console.print(f"\n{name}")
        if isinstance(value, Mapping):
            _print_pairs(console, value, "  ")
        else:
            console.print(Padding(table(value), (0, 0, 0, 2)))


def table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    """Rows of the same keys as a table without lines."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in rows[0]:
        numeric = all(isinstance(row[name], (int, float)) for row in rows)
        made.add_column(
            Text(name), justify="right" if numeric else "left", no_wrap=numeric, overflow="fold"
        )
    for row in rows:
        made.add_row(*(Text(inline(value)) for value in row.values()))
    return made


def inline(value: object) -> str:
    """Any value on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {inline(inner)}" for key, inner in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(inline(inner) for inner in value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None or value == "" else one_line(str(value))


def _is_section(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _print_pairs(console: "Console", pairs: Mapping[str, Any], indent: str) -> None:
    from rich.table import Table
    from rich.text import Text

    if not pairs:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs.items():
        grid.add_row(f"{indent}{name}", Text(_lines(value)))
    console.print(grid)


def _lines(value: object) -> str:
    """A value on one line, or a list of long texts with a line for each."""
    if isinstance(value, (list, tuple)) and any(len(str(inner)) > 30 for inner in value):
        return "\n".join(inline(inner) for inner in value)
    return inline(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
