"""The pocket world's newspaper: headlines of four parts, and stories that tell them otherwise.

Takes the grammar in `corpus/news.csv` and the frames beside it and a random generator, gives
headlines and stories. A story uses its headline's words or others, and never repeats the headline
itself.
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
PARTS = ("who", "what", "where", "outcome")
PLAIN = 0.6
"""Share of the printed stories that use their headline's words."""


class Part(NamedTuple):
    """One part's wording in a headline, and its wordings in stories.

    Attributes:
        headline: Short, as headlines are.
        named: The same words as a story's sentence has them.
        others: Other words for it.
    """

    headline: str
    named: str
    others: tuple[str, ...]


class News(NamedTuple):
    """What happened: an index into each part's rows of the grammar."""

    who: int
    what: int
    where: int
    outcome: int


@dataclass(frozen=True)
class Press:
    """The grammar.

    Attributes:
        parts: Rows of each of the four parts.
        frames: Of stories in other words, with a slot for each part.
        plain_frames: Of stories in the headline's words.
    """

    parts: tuple[tuple[Part, ...], ...]
    frames: tuple[str, ...]
    plain_frames: tuple[str, ...]

    def headline(self, news: News) -> str:
        """Give the one headline of a piece of news."""
        who, what, where, outcome = (
            rows[i].headline for rows, i in zip(self.parts, news, strict=True)
        )
        return f"{who} {what} {where}, {outcome}"

    def story(self, news: News, rng: Random, plain: float = 0.0) -> str:
        """Tell a piece of news in three or four sentences.

        Args:
            news: What happened.
            rng: Draws the frame and the wordings.
            plain: How often it is told in the words of its headline, as a share.
        """
        in_its_words = bool(plain) and rng.random() < plain
        told = {
            name: rows[i].named if in_its_words else rng.choice(rows[i].others)
            for name, rows, i in zip(PARTS, self.parts, news, strict=True)
        }
        who = told["who"]
        frame = rng.choice(self.plain_frames if in_its_words else self.frames)
        return frame.format(**told, Who=who[0].upper() + who[1:])

    def draw(self, rng: Random) -> News:
        """Draw any piece of news."""
        return News(*(rng.randrange(len(rows)) for rows in self.parts))

    def draw_known(self, rng: Random) -> News:
        """Draw news whose headline is not of the test split."""
        while is_test(self.headline(news := self.draw(rng))):
            pass
        return news

    def edition(self, cubes: int = 150) -> list[News]:
        """Give the fixed list of news that studies use: 16 times `cubes` pieces.

        Each cube is made of two rows of every part in all combinations, so that every headline
        has four others that differ from it in one part only.
        """
        rng = Random("edition")
        found: dict[News, None] = {}
        while len(found) < 16 * cubes:
            pairs = [sorted(rng.sample(range(len(rows)), 2)) for rows in self.parts]
            cube = [News(*choice) for choice in itertools.product(*pairs)]
            if not any(news in found for news in cube):
                found.update(dict.fromkeys(cube))
        return list(found)


def is_test(headline: str) -> bool:
    """Tell whether a headline belongs to the test split and is thus kept from the base."""
    return place_of(headline) >= TEST_FROM


def load_press(folder: Path = CORPUS) -> Press:
    """Read the grammar."""
    with (folder / "news.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = tuple(
        tuple(
            Part(row["headline"], row["named"], tuple(row[f"story_{i}"] for i in range(1, 5)))
            for row in rows
            if row["part"] == part
        )
        for part in PARTS
    )
    frames, plain_frames = (
        tuple((folder / name).read_text(encoding="utf-8").splitlines())
        for name in ("frames.txt", "plain_frames.txt")
    )
    return Press(parts, frames, plain_frames)


def lines(press: Press, stories: int = 12) -> Iterator[tuple[str, str]]:
    """Yield (headline, story) pairs: so many different stories for each headline, in its order."""
    for news in press.edition():
        headline = press.headline(news)
        rng = Random(headline)
        told: dict[str, None] = {}
        while len(told) < stories:
            told[press.story(news, rng, PLAIN)] = None
        yield from ((headline, story) for story in told)
