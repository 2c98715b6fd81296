"""The facts of what ships in the package: the pocket base, its corpus and its adapters."""

import csv

from diffspeak.cli.facts import Facts
from diffspeak.cli.show_folders import model_facts
from diffspeak.models.pocket import (
    NAME,
    PREFIX,
    VERSION,
    base_folder,
    corpus_file,
    shipped_adapters,
)


def pocket_facts() -> Facts:
    """The model, and what ships beside it."""
    folder = base_folder()
    model = model_facts(folder)
    about = {
        "kind": model.pop("kind"),
        "source": NAME,
        "version": VERSION,
        "folder": str(folder),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }
    beside = {
        "topics": _rows("topics.csv"),
        "questions": _rows("questions.csv"),
        "headlines": _rows("headlines.csv"),
        "adapters": [f"{PREFIX}{behavior}" for behavior in shipped_adapters()],
    }
    return about | {**model, "source": NAME} | beside


def _rows(name: str) -> int:
    with corpus_file(name).open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))
