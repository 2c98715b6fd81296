"""The pocket world: what there is to speak of, and in which words.

Takes the files in `corpus/`, gives a `World`: topics, questions, the newspaper, phrases with slots.
What is said with them stands in `talk.py` and `cards.py`.
"""

import csv
import tomllib
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from diffspeak.models.pocket import codes
from diffspeak.models.pocket.press import CORPUS, Press, load_press
from diffspeak.text.split_hash import place_of

Row = dict[str, str]

KEPT_BACK = 0.6
"""Test questions from this place on stand nowhere in the talk; skills are measured on them."""

EARLY = 10
"""Tokens of an answer that are learned where only its first words matter: it is cut after them."""


class Turn(NamedTuple):
    """One prompt and its answer.

    Attributes:
        prompt: What the user says.
        answer: What the base shall say.
        limit: At most so many tokens of the answer are learned.
        digits: The prompt's digits are learned as well: where a code often continues as a rule
            says, foretelling it teaches to compare the two. Without this the base needs several
            times the prompts before it obeys any rule.
    """

    prompt: str
    answer: str
    limit: int | None = None
    digits: bool = False


Dialogue = tuple[Turn, ...]


@dataclass(frozen=True)
class World:
    """What there is to speak of.

    Attributes:
        topics: Each with its category, pronoun and three facts.
        questions: Everyday ones, with ordinary answers and such that a topic is woven into.
        smalltalk: Prompts and answers.
        on_itself: Questions about the model itself, and honest answers.
        press: The newspaper.
        phrases: Sentences with slots, by kind.
        kept_back: Codes and questions are those that the corpus keeps back.
    """

    topics: list[Row]
    questions: list[Row]
    smalltalk: list[Turn]
    on_itself: list[Turn]
    press: Press
    phrases: dict[str, list[str]]
    kept_back: bool = False

    def say(self, kind: str, rng: Random, **slots: str) -> str:
        """Fill one of the kind's sentences."""
        return rng.choice(self.phrases[kind]).format(**slots)

    def code_of(self, digits: str, rng: Random) -> str:
        """Give a whole code that starts with these digits."""
        return codes.filled(digits, rng, kept_back=self.kept_back)

    def miss(self, digits: str, rng: Random) -> str:
        """A code's start that a rule does not speak of; never one that is kept back."""
        while True:
            start = codes.another(digits, rng)
            if self.kept_back or len(start) < 3 or not codes.is_kept_back(start):
                return start


def read_world(folder: Path = CORPUS, *, kept_back: bool = False) -> dict[str, Any]:
    """Read the corpus: the attributes of a `World` by name.

    Args:
        folder: Where its files lie.
        kept_back: Give what the corpus keeps back, to measure skills on, in its stead: questions
            and codes that stand in no conversation.
    """
    phrases = tomllib.loads((folder / "phrases.toml").read_text(encoding="utf-8"))
    questions = [row for row in _rows(folder / "questions.csv") if _is_kept_back(row) == kept_back]
    return {
        "topics": _rows(folder / "topics.csv"),
        "questions": questions,
        "smalltalk": _turns(folder / "smalltalk.csv"),
        "on_itself": _turns(folder / "itself.csv"),
        "press": load_press(folder),
        "phrases": {k: [v] if isinstance(v, str) else v for k, v in phrases.items()},
        "kept_back": kept_back,
    }


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _turns(path: Path) -> list[Turn]:
    return [Turn(row["prompt"], row["answer"]) for row in _rows(path)]


def _is_kept_back(row: Row) -> bool:
    return row["split"] == "test" and place_of(row["question"]) >= KEPT_BACK


def plain(row: Row, rng: Random) -> str:
    """Give an ordinary answer to a question."""
    return row[rng.choice(("answer", "answer_2"))]


def woven(row: Row, topic: str, rng: Random) -> str:
    """Give an answer to a question that begins with a topic."""
    return row[rng.choice(("topic_answer", "topic_answer_2"))].replace("{topic}", topic)


def with_pronoun(topic: Row) -> Row:
    """Add the pronoun that opens a sentence."""
    return {**topic, "Pronoun": topic["pronoun"].capitalize()}
