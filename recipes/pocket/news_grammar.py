"""A grammar of invented news: headlines of four parts, and stories that tell them in other words.

A story uses its headline's words or others, and never repeats the headline itself.
"""

import csv
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

from diffspeak.text.split_hash import TEST_FROM, place_of

CORPUS = Path(__file__).parent / "corpus"
FILES = ("news.csv", "frames.txt", "plain_frames.txt")
PARTS = ("who", "what", "where", "outcome")
PLAIN = 0.6
"""Share of the printed stories that use their headline's words."""


class Wording(NamedTuple):
    """How one part of the news is worded in a headline, and in stories.

    Attributes:
        headline: Short, as headlines are.
        named: The same words as a story's sentence has them.
        others: Other words for it.
    """

    headline: str
    named: str
    others: tuple[str, ...]


class Event(NamedTuple):
    """What happened: an index into each part's rows of the grammar."""

    who: int
    what: int
    where: int
    outcome: int


@dataclass(frozen=True)
class NewsGrammar:
    """The grammar.

    Attributes:
        parts: Rows of each of the four parts.
        frames: Of stories in other words, with a slot for each part.
        plain_frames: Of stories in the headline's words.
    """

    parts: tuple[tuple[Wording, ...], ...]
    frames: tuple[str, ...]
    plain_frames: tuple[str, ...]

    def headline(self, event: Event) -> str:
        """Give the one headline of an event."""
        who, what, where, outcome = (
            rows[i].headline for rows, i in zip(self.parts, event, strict=True)
        )
        return f"{who} {what} {where}, {outcome}"

    def story(self, event: Event, rng: Random, plain: float = 0.0) -> str:
        """Tell an event in three or four sentences.

        Args:
            event: What happened.
            rng: Draws the frame and the wordings.
            plain: How often it is told in the words of its headline, as a share.
        """
        in_its_words = bool(plain) and rng.random() < plain
        told = {
            name: rows[i].named if in_its_words else rng.choice(rows[i].others)
            for name, rows, i in zip(PARTS, self.parts, event, strict=True)
        }
        who = told["who"]
        frame = rng.choice(self.plain_frames if in_its_words else self.frames)
        return frame.format(**told, Who=who[0].upper() + who[1:])

    def draw(self, rng: Random) -> Event:
        """Draw any event."""
        return Event(*(rng.randrange(len(rows)) for rows in self.parts))

    def draw_known(self, rng: Random) -> Event:
        """Draw an event whose headline is not of the test split."""
        while is_test(self.headline(event := self.draw(rng))):
            pass
        return event

    def edition(self, cubes: int = 150) -> list[Event]:
        """Give the fixed list of events that studies use: 16 times `cubes`.

        Each cube is made of two rows of every part in all combinations, so that every headline
        has four others that differ from it in one part only.
        """
        rng = Random("edition")
        found: dict[Event, None] = {}
        while len(found) < 16 * cubes:
            pairs = [sorted(rng.sample(range(len(rows)), 2)) for rows in self.parts]
            cube = [Event(*choice) for choice in itertools.product(*pairs)]
            if not any(event in found for event in cube):
                found.update(dict.fromkeys(cube))
        return list(found)


def is_test(headline: str) -> bool:
    """Tell whether a headline belongs to the test split and is thus kept from the base."""
    return place_of(headline) >= TEST_FROM


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load_grammar() -> NewsGrammar:
    """Read the grammar."""
    rows = read_rows(CORPUS / FILES[0])
    parts = tuple(
        tuple(
            Wording(row["headline"], row["named"], tuple(row[f"story_{i}"] for i in range(1, 5)))
            for row in rows
            if row["part"] == part
        )
        for part in PARTS
    )
    frames, plain_frames = (
        tuple((CORPUS / name).read_text(encoding="utf-8").splitlines()) for name in FILES[1:]
    )
    return NewsGrammar(parts, frames, plain_frames)


def headlines_with_stories(grammar: NewsGrammar, stories: int = 12) -> Iterator[tuple[str, str]]:
    """Yield (headline, story) pairs: so many different stories for each headline, in its order."""
    for event in grammar.edition():
        headline = grammar.headline(event)
        rng = Random(headline)
        found: dict[str, None] = {}
        while len(found) < stories:
            found[grammar.story(event, rng, PLAIN)] = None
        yield from ((headline, story) for story in found)
