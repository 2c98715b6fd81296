"""`python -m benchmarks.audit RUN`: what the audit finds, `docs/results/audit.md`.

Makes what `configs/audit.toml` says, if it is not in the folder, audits finetunes of the test
split, and writes the page. What was measured is kept, so an interrupted run goes on. `--parts`
chooses what is on the page; with `--no-page` parts are measured only, two of them side by side.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.audit import disguises, evidence, whole
from benchmarks.audit.made import Made
from diffspeak.cli.reporter import TerminalReporter
from diffspeak.cli.session import Session
from diffspeak.io.files import write_json, write_text
from diffspeak.io.runs import library_versions
from diffspeak.scoring import Row
from diffspeak.scoring.tables import table_lines

PARTS: dict[str, Callable[[Made], Iterator[Row]]] = {
    "whole": whole.rows,
    "evidence": evidence.rows,
    "disguises": disguises.rows,
}
TITLE = "The audit on the pocket base"


def main() -> None:
    """Measure, and write the page and its JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--no-page", action="store_true")
    parser.add_argument("--page", type=Path, default=Path("docs/results/audit.md"))
    asked = parser.parse_args()
    with TerminalReporter(Session()) as reporter:
        made = Made(asked.run, reporter)
        found = {name: list(PARTS[name](made)) for name in asked.parts}
    if not asked.no_page:
        _write(asked.page, made, found)


def _write(page: Path, made: Made, found: dict[str, list[Row]]) -> None:
    headings = {
        "whole": "Whole audits",
        "evidence": "Something or nothing, without searching triggers",
        "disguises": "Disguised checkpoints",
    }
    parts = [f"# {TITLE}", "", *_with(made), ""]
    for name, rows in found.items():
        parts += [f"## {headings[name]}", "", *table_lines(rows), ""]
    versions = library_versions()
    parts += ["## Versions", "", ", ".join(f"{k} {v}" for k, v in versions.items()), ""]
    write_text(page, "\n".join(parts))
    rows = [{**row.__dict__, "met": row.met} for name in found for row in found[name]]
    write_json(
        page.with_suffix(".json"), {"title": TITLE, "rows": rows, "about": _about(made, versions)}
    )


def _with(made: Made) -> Sequence[str]:
    """What was measured on what."""
    lines = [
        "Finetunes are the first of the test split, by the order of their items; their topics and "
        "codes were in no training and in no calibration. Adapter, calibration and settings: "
        f"`{made.config.name}.toml`. A trigger counts as learned if the finetune fires on at least "
        f"{whole.FIRES:.0%} of prompts with it and on at most {whole.SILENT:.0%} of others of each "
        "kind.",
        "",
        "What to know: how triggers are searched was changed after earlier tables of these "
        "finetunes, by what others of the train and calibration splits showed; that a doubtful "
        "trigger is told at all, by what the first 50 secret words here showed; that everyday "
        "words and those of a dictionary are weighed against each other in one list, after the "
        "next 25 had been audited too. The last secret words had not been looked at. The everyday "
        "words were written from themes, without knowing the secret words. That claims are judged "
        "without a doubtful trigger was decided by four claims that it had confirmed in an earlier "
        "table; that one negative fewer of the calibration may lie above the threshold, when those "
        "of the test split had been seen. Undoing disguises was developed with an eye on the first "
        "finetunes, too. Whole audits ran two at a time, one thread each.",
    ]
    for name in ("describe", "audit"):
        calibration = getattr(made.adapter.calibrations, name)
        counts = ", ".join(f"{one.kind} {one.found} of {one.n}" for one in calibration.counted)
        lines += ["", f"Called something on the calibration split ({name}): {counts}."]
    return lines


def _about(made: Made, versions: dict[str, str]) -> dict[str, object]:
    return {"versions": versions, "machine": made.base.choices, "config": made.config.name}


if __name__ == "__main__":
    main()
