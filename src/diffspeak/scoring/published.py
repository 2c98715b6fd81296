"""The paper's figures, to stand beside ours. Typed from the paper, once, in `published.toml`."""

import tomllib
from functools import cache
from pathlib import Path

PAPER = "Goel et al., Learning to Interpret Weight Differences in Language Models, arXiv 2510.05092"
Table = dict[str, dict[str, float]]
"""Row to column (a model) to mean score."""


@cache
def published() -> dict[str, Table]:
    """All tables by name."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def is_published(place: str) -> bool:
    """Whether there is a row `TABLE/ROW`."""
    table, _, row = place.partition("/")
    return row in published().get(table, {})


def published_row(place: str) -> dict[str, float]:
    """A row by `TABLE/ROW`: model to mean score, 1 to 5."""
    table, _, row = place.partition("/")
    return published()[table][row]


def in_short(values: dict[str, float]) -> str:
    """A row on one line: a figure with its model, or the least and the greatest of several."""
    if len(values) == 1:
        ((model, value),) = values.items()
        return f"{value:.2f} ({model})"
    return f"{min(values.values()):.2f} to {max(values.values()):.2f}"
