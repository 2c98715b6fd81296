"""`python -m benchmarks.stale`: say on a page of results what no longer holds, until it is remade.

Marks the pages of `NOTES` in docs/results, each behind its title and in its JSON, as `stale`. What
writes a page anew writes it without a mark; take its note out of `NOTES` then.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from diffspeak.io.files import read_bytes, read_json, write_json, write_text

PAGES = Path("docs/results")
MARK = "> **Stale.** "


@dataclass(frozen=True)
class Stale:
    """Why a page, or a part of it, no longer holds.

    Attributes:
        changed: What is done otherwise since.
        rests: Which figures rest on how it was done before, and which do not.
        again: The command that makes the page anew.
    """

    changed: str
    rests: str
    again: str

    @property
    def line(self) -> str:
        """As it stands on the page."""
        return f"{MARK}{self.changed} {self.rests} To make the page anew: `{self.again}`."


SEEDS = (
    "What is drawn about a finetune was seeded by its name or by its place in a list when this was "
    "measured; it is seeded by a digest of its change since."
)
NOTES = {
    "audit": Stale(
        f"{SEEDS} Since, too, a finetune is not cleared if its answers show a phrase that the "
        "base's do not.",
        "Whole audits, and the rows that begin with `audit:`, rest on the old draws, and so does "
        "the count of the calibration (audit), whose threshold stays. The rows that begin with "
        "`describe:` and the differences that were recovered from disguised checkpoints do not.",
        "python -m benchmarks.audit RUN",
    ),
    "study": Stale(
        SEEDS,
        "The rows *generated story* and *with trigger*, and *fires* of news finetunes, rest on the "
        "old draws; the other rows do not.",
        "diffspeak run configs/study/all.toml --out RUN && python -m benchmarks.study RUN",
    ),
}
"""By the page's name."""


def mark(page: Path, note: Stale) -> None:
    """Put a note on a page and into its JSON, in place of one that is there."""
    lines = read_bytes(page).decode().split("\n")
    if lines[2].startswith(MARK):
        del lines[2:4]
    write_text(page, "\n".join([*lines[:2], note.line, "", *lines[2:]]))
    data = page.with_suffix(".json")
    write_json(data, {**read_json(data), "stale": asdict(note)})


def main() -> None:
    """Mark all of them."""
    argparse.ArgumentParser(prog="python -m benchmarks.stale", description=__doc__).parse_args()
    for name, note in NOTES.items():
        mark(PAGES / f"{name}.md", note)


if __name__ == "__main__":
    main()
