"""Counts what comes of a test run: outcomes, and warnings by category, module and message."""

import re
import site
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility.versions import ROOT

SHOWN = 160
"""Letters of a warning's first line that are kept."""


@dataclass
class Outcome:
    """What came of a run.

    Attributes:
        passed: Tests that passed.
        skipped: Tests that were skipped.
        failed: Ids of those that failed.
        warnings: How often each was given: (category, module, message).
    """

    passed: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)
    warnings: Counter[tuple[str, str, str]] = field(default_factory=Counter)


class Watch:
    """A plugin of pytest that fills in an `Outcome`."""

    def __init__(self) -> None:
        self.outcome = Outcome()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test once, however many of its phases fail."""
        if report.failed and report.nodeid not in self.outcome.failed:
            self.outcome.failed.append(report.nodeid)
        self.outcome.skipped += report.skipped
        self.outcome.passed += report.when == "call" and report.passed

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported has failed."""
        if report.failed and report.nodeid not in self.outcome.failed:
            self.outcome.failed.append(report.nodeid)

    def pytest_warning_recorded(self, warning_message: Any) -> None:
        """Count a warning."""
        category, file = warning_message.category.__name__, Path(warning_message.filename)
        said = _said(str(warning_message.message))
        self.outcome.warnings[category, _module(file), said] += 1


def _said(message: str) -> str:
    """The first line, without what differs from machine to machine and from run to run."""
    first = (message.strip().splitlines() or [""])[0]
    for pattern, word in (
        (r"https?://\S+", "URL"),
        (r"(/[\w.@+-]+){2,}", "PATH"),
        (r"\d{4,}", "N"),
    ):
        first = re.sub(pattern, word, first)
    return re.sub(r"0x[0-9a-fA-F]+", "N", first)[:SHOWN]


def _module(file: Path) -> str:
    """The module that a warning names as its place."""
    for folder in (*map(Path, site.getsitepackages()), ROOT / "src", ROOT):
        if file.is_relative_to(folder):
            return ".".join(file.relative_to(folder).with_suffix("").parts)
    return file.stem
