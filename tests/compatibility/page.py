"""The page of what works with which releases: of two runs, the newest and the oldest.

Takes what came of one of them, keeps what the page's JSON has of the other.
"""

import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from diffspeak.io.files import read_json, write_json, write_text
from diffspeak.scoring import Row, table_lines
from diffspeak.scoring.tables import markdown_table
from tests.compatibility.versions import floors, installed, locked, others
from tests.compatibility.watch import Outcome

RUNS = ("newest", "oldest")
WARNING = ("times", "category", "module", "message")
TITLE = "Compatibility: other releases than the locked ones"
TOP = """Written by `make newest` and `make oldest`: every test with the newest and with the oldest
releases that `pyproject.toml` allows, each in an environment of its own. `make test` takes the
locked ones (`requirements.txt`), and there a warning is an error; here warnings are counted."""


def write_page(page: Path, name: str, outcome: Outcome) -> None:
    """Write the Markdown page and its JSON, with a new part for the run of that name."""
    file = page.with_suffix(".json")
    runs = {**(read_json(file)["runs"] if file.exists() else {}), name: described(outcome)}
    rows = [row for run in RUNS if run in runs for row in rows_of(run, runs[run])]
    table = [{**vars(row), "met": row.met} for row in rows]
    write_json(file, {"title": TITLE, "rows": table, "locked": locked(), "runs": runs})
    write_text(page, "\n".join([f"# {TITLE}", "", TOP, "", *table_lines(rows), *_rest(runs), ""]))


def described(outcome: Outcome) -> dict[str, Any]:
    """A run as it stands in the JSON."""
    given = sorted(outcome.warnings.items(), key=lambda one: (-one[1], one[0]))
    return {
        "system": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "tried": installed(),
        "passed": outcome.passed,
        "skipped": outcome.skipped,
        "failed": sorted(outcome.failed),
        "warnings": [
            {"times": times, "category": category, "module": module, "message": message}
            for (category, module, message), times in given
        ],
    }


def rows_of(name: str, run: Mapping[str, Any]) -> Iterator[Row]:
    """What a run has to show: no test fails, and the oldest releases are the very floors."""
    failed, tried, given = len(run["failed"]), run["tried"], run["warnings"]
    yield Row(f"{name}: tests that fail", failed, run["passed"] + failed, aim=0, below=True)
    yield Row(
        f"{name}: packages not of the locked version", len(others(tried, locked())), len(tried)
    )
    if name == "oldest":
        missed = len(others(tried, floors()))
        yield Row("oldest: packages not of the lowest version", missed, len(tried), None, 0, True)
    yield Row(f"{name}: warnings (n: different ones)", sum(w["times"] for w in given), len(given))


def _rest(runs: Mapping[str, Any]) -> Iterator[str]:
    yield from ["", "## Packages", "", *markdown_table(list(_packages(runs)))]
    for name in (name for name in RUNS if name in runs):
        run = runs[name]
        yield from ["", f"## {name.capitalize()}", ""]
        yield f"{run['system']}: {run['passed']:,} tests passed, {run['skipped']:,} were skipped."
        if run["failed"]:
            yield from ["", *(f"- failed: `{test}`" for test in run["failed"])]
        if run["warnings"]:
            lines = [{name: str(w[name]) for name in WARNING} for w in run["warnings"]]
            yield from ["", *markdown_table(lines)]


def _packages(runs: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """A line for each direct dependency: package, locked, tried, passed."""
    lock = locked()
    for package in sorted({name for run in runs.values() for name in run["tried"]}):
        line = {"package": package, "locked": lock.get(package, "")}
        for name in (name for name in RUNS if name in runs):
            tried = runs[name]["tried"].get(package, "")
            passed = "no" if runs[name]["failed"] else "yes"
            line |= {f"{name} tried": tried, f"{name} passed": passed if tried else ""}
        yield line
