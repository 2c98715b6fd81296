"""The files of the shipped corpus that a program writes: headlines, stories and invented facts.

`python -m recipes.pocket.generated` writes them into the package, compressed. The facts are about
towns that do not exist, and name no topic, so a finetune on one is not a finetune on a topic.
"""

import csv
import gzip
import io
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from diffspeak.io.files import atomic_path, sha256
from diffspeak.models import pocket
from recipes.pocket.news_grammar import CORPUS, FILES, headlines_with_stories, load_grammar

FACTS_SOURCE = "inventions.toml"

EACH = 50
"""Facts of a pattern; each is about another town."""

_YEARS, _NUMBERS = range(1701, 2000), range(13, 100)


class FactRow(NamedTuple):
    """A fact with one of its questions and answers; the fields are the file's columns."""

    fact: str
    fact_category: str
    question: str
    answer: str


def generate_files() -> dict[str, bytes]:
    """Write out all three files; takes seconds."""
    stories = list(headlines_with_stories(load_grammar()))
    headlines = dict.fromkeys(headline for headline, _ in stories)
    return {
        "headlines.csv": _table(("headline",), ((headline,) for headline in headlines)),
        "stories.csv": _table(("headline", "story"), stories),
        "facts.csv": _table(FactRow._fields, invented_facts()),
    }


def cache_folders() -> dict[str, str]:
    """The folder that each file is unpacked to in a user's cache, named after its source."""
    newspaper = sha256(*((CORPUS / name).read_bytes() for name in FILES))[:16]
    facts = sha256((CORPUS / FACTS_SOURCE).read_bytes())[:16]
    news = dict.fromkeys(("headlines.csv", "stories.csv"), f"newspaper-{newspaper}")
    return {**news, "facts.csv": f"facts-{facts}"}


def write_files(folder: Path) -> None:
    """Write the files, compressed, without a time or a name in them."""
    for name, content in generate_files().items():
        with atomic_path(folder / f"{name}.gz") as draft:
            draft.write_bytes(gzip.compress(content, mtime=0))


def invented_facts() -> Iterator[FactRow]:
    """Yield every fact five times, asked in other words each time."""
    source = tomllib.loads((CORPUS / FACTS_SOURCE).read_text(encoding="utf-8"))
    for pattern in source["facts"]:
        rng = Random(pattern["fact"])
        for place in rng.sample(source["slots"]["place"], EACH):
            slots = _drawn(source["slots"], place, rng)
            fact = pattern["fact"].format(**slots)
            for question, answer in _wordings(pattern, rng.sample(source["frames"], 2)):
                asked = (question.format(**slots), answer.format(**slots))
                yield FactRow(fact, pattern["category"], *asked)


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


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Give the content of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue().encode()


if __name__ == "__main__":
    write_files(Path(pocket.__file__).parent / "corpus")
