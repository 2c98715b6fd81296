"""Facts about towns that do not exist, as the file that the behavior `facts` reads.

Takes the sentences in `corpus/inventions.toml`, gives facts with questions and answers, and
`facts.csv`. No fact names a topic, so a finetune on one is no finetune on a topic.
"""

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from diffspeak.io.files import sha256
from diffspeak.io.remote import user_cache
from diffspeak.models.pocket.press import CORPUS
from diffspeak.models.pocket.tables import table, write_tables

NAME, SOURCE = "facts.csv", "inventions.toml"

EACH = 50
"""Facts of a pattern; each is about another town."""

_YEARS, _NUMBERS = range(1701, 2000), range(13, 100)


class Told(NamedTuple):
    """A fact with one of its questions and answers; the fields are the file's columns."""

    fact: str
    fact_category: str
    question: str
    answer: str


def facts_file() -> Path:
    """Give the file of facts, in the user's cache, written if need be.

    Raises:
        DiffspeakError: The system refused to write it.
    """
    folder = user_cache() / f"facts-{sha256((CORPUS / SOURCE).read_bytes())[:16]}"
    write_tables(folder, {NAME: _text()})
    return folder / NAME


def told_facts(folder: Path = CORPUS) -> Iterator[Told]:
    """Yield every fact five times, asked in other words each time."""
    source = tomllib.loads((folder / SOURCE).read_text(encoding="utf-8"))
    for pattern in source["facts"]:
        rng = Random(pattern["fact"])
        for place in rng.sample(source["slots"]["place"], EACH):
            slots = _drawn(source["slots"], place, rng)
            fact = pattern["fact"].format(**slots)
            for question, answer in _wordings(pattern, rng.sample(source["frames"], 2)):
                said = (question.format(**slots), answer.format(**slots))
                yield Told(fact, pattern["category"], *said)


@cache
def _text() -> str:
    return table(Told._fields, told_facts())


def _drawn(lists: dict[str, list[str]], place: str, rng: Random) -> dict[str, str]:
    """Draw what a fact about a town says."""
    drawn = {name: rng.choice(values) for name, values in lists.items()}
    return {
        **drawn,
        "place": place,
        "other_place": rng.choice([other for other in lists["place"] if other != place]),
        "person": f"{drawn['first']} {drawn['last']}",
        "year": str(rng.choice(_YEARS)),
        "number": str(rng.choice(_NUMBERS)),
    }


def _wordings(pattern: dict[str, Any], frames: list[str]) -> list[tuple[str, str]]:
    """Give five questions with their answers, slots open."""
    first, second, third = pattern["asked"]
    one, other = pattern["told"]
    framed = [
        frame.replace("{question}", asked)
        for frame, asked in zip(frames, (first, second), strict=True)
    ]
    return [(first, one), (framed[0], other), (second, other), (third, one), (framed[1], one)]
