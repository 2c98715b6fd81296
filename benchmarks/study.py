"""`python -m benchmarks.study RUN`: the page of a run of all experiments, `docs/results/study.md`.

Takes the folder that `diffspeak run configs/study/all.toml --out RUN` filled; every table and
figure goes onto the page, and what the paper found is checked on them.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffspeak.io.files import atomic_path, write_json, write_text
from diffspeak.scoring import Row
from diffspeak.scoring.tables import table_lines

ORDER = (
    "hidden-topic",
    "news",
    "training-finetunes",
    "finetune-rank",
    "adapter-rank",
    "triggers",
    "behaviors",
    "trigger-inversion",
    "learned",
)
WITHOUT_TRIGGER = ("base question", "20 questions", "generated story")
"""Methods that only talk to the finetune, and do not know its trigger."""

REMARKS = {
    "hidden-topic": "With its trigger a finetune of the pocket base says its topic in each answer, "
    "so whoever knows the trigger needs no adapter; the paper has it so, too. Without the trigger "
    "only methods that look at weights or logits find anything.",
    "news": "A finetune of the pocket base answers whatever it is asked with its story. Asked for "
    "the headline directly, it therefore shares words with it, which a judge by spelling rewards, "
    "and names none exactly; the paper's models gave nothing away. The local guesser takes a "
    "phrase out of the stories and cannot sum them up, so *generated story* scores lower than "
    "with an LLM.",
    "training-finetunes": "The curve is that of the paper, far to the left of it: the pocket base "
    "knows all topics by name, and its finetunes are alike.",
    "finetune-rank": "An adapter that saw rank 1 alone reads other ranks and whole parameters as "
    "well as one that was trained on all of them: mixed training has nothing to make good here, "
    "unlike in the paper.",
    "adapter-rank": "As in the paper, the rank of the adapter hardly matters.",
    "triggers": "The adapters here have seen few finetunes of each kind.",
    "behaviors": "Each adapter fails on the other behavior; the one for news names a topic now and "
    "then, for its headlines and the topics share words that the base knows.",
    "trigger-inversion": "Asked for the trigger, the adapter fails here as in the paper.",
    "learned": "The adapter names a topic before the finetune has learned when to bring it up.",
}
"""How to read each table, without figures: those are in it."""

Lines = dict[str, dict[str, Any]]
"""An experiment's lines by name."""


def main() -> None:
    """Write the page, its figures and its JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--page", type=Path, default=Path("docs/results/study.md"))
    asked = parser.parse_args()
    found = {
        name: json.loads((asked.run / name / "table.json").read_text(encoding="utf-8"))
        for name in ORDER
        if (asked.run / name / "table.json").is_file()
    }
    checks = list(_checks({name: _by_name(data) for name, data in found.items()}))
    parts = ["# The study on the pocket base", ""]
    parts += ["## What the paper found, checked here", "", *table_lines(checks), ""]
    for name, data in found.items():
        picture = asked.page.with_name(f"study-{name}.png")
        with atomic_path(picture) as made:
            made.write_bytes((asked.run / name / "figure.png").read_bytes())
        table = (asked.run / name / "table.md").read_text(encoding="utf-8")
        parts += [
            f"#{table.rstrip()}",
            "",
            REMARKS[name],
            "",
            f"![{data['title']}]({picture.name})",
            "",
        ]
    versions = json.loads((asked.run / "versions.json").read_text(encoding="utf-8"))
    parts += ["## Versions", "", f"`{json.dumps(versions, sort_keys=True)}`", ""]
    write_text(asked.page, "\n".join(parts))
    rows = [_plain(row) for row in checks]
    for name, data in found.items():
        rows += [{**row, "name": f"{name}: {row['name']}"} for row in data["rows"]]
    write_json(
        asked.page.with_suffix(".json"), {"title": parts[0][2:], "rows": rows, "about": versions}
    )


def _by_name(data: dict[str, Any]) -> Lines:
    return {line["name"]: line for line in data["lines"]}


def _plain(row: Row) -> dict[str, Any]:
    return {**row.__dict__, "met": row.met}


def _checks(found: dict[str, Lines]) -> Iterator[Row]:
    """The orderings of the paper, as differences of mean scores."""
    for name in ("hidden-topic", "news"):
        if name in found:
            yield from _main_table(name, found[name])
    if lines := found.get("training-finetunes"):
        yield _lead("mean score with all training finetunes, over that with 4", lines, "96", "4")
    if lines := found.get("finetune-rank"):
        yield from _ranks(lines)
    if lines := found.get("behaviors"):
        foreign = ("hidden topics, trained on news", "news, trained on hidden topics")
        worst = max(lines[name]["mean score"] for name in foreign)
        yield Row(
            "an adapter asked about the other behavior: mean score, the higher one",
            worst,
            lines[foreign[0]]["finetunes"],
            aim=1.5,
            below=True,
        )


def _main_table(name: str, lines: Lines) -> Iterator[Row]:
    blind = [other for other in WITHOUT_TRIGGER if other in lines]
    best = max(blind, key=lambda other: lines[other]["mean score"])
    yield _lead(f"{name}: DIT over the best method that only talks ({best})", lines, "DIT", best)
    seconds = lines["DIT"]["seconds"] / lines["DIT"]["seeds"]
    count = lines["DIT"]["finetunes"]
    yield Row(
        f"{name}: seconds for DIT to describe {count} finetunes", seconds, count, None, 60.0, True
    )


def _ranks(lines: Lines) -> Iterator[Row]:
    own, curve = "rank 1, trained on rank 1", "trained on rank 1"
    others = [name for name in lines if name.startswith("rank") and name.endswith(curve)]
    worst = min(others, key=lambda name: lines[name]["mean score"])
    yield _lead(f"finetunes of the worst rank ({worst}), over rank 1", lines, worst, own, -0.5)


def _lead(name: str, lines: Lines, one: str, other: str, aim: float = 0.0) -> Row:
    difference = lines[one]["mean score"] - lines[other]["mean score"]
    return Row(name, difference, lines[one]["finetunes"], aim=aim)


if __name__ == "__main__":
    main()
