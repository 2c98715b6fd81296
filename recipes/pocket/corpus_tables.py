"""What the training corpus is made of: topics, questions, phrases with slots, news, and codes.

A code has six digits, of which the first three may matter.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from diffspeak.models.pocket import corpus_file
from diffspeak.text.seeds import seed_of
from diffspeak.text.split_hash import place_of
from recipes.pocket.news_grammar import CORPUS, NewsGrammar, load_grammar, read_rows

CsvRow = dict[str, str]

DIGITS = "0123456789"

KEPT_BACK = 0.6
"""Test questions from this place on are nowhere in the dialogues; skills are measured on them."""

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
class CorpusTables:
    """What there is to speak of.

    Attributes:
        topics: Each with its category, pronoun and three facts.
        questions: Everyday ones, with ordinary answers and such that a topic is woven into.
        smalltalk: Prompts and answers.
        on_itself: Questions about the model itself, and honest answers.
        grammar: Of the news.
        phrases: Sentences with slots, by kind.
        kept_back: Codes and questions are those that the corpus keeps back.
    """

    topics: list[CsvRow]
    questions: list[CsvRow]
    smalltalk: list[Turn]
    on_itself: list[Turn]
    grammar: NewsGrammar
    phrases: dict[str, list[str]]
    kept_back: bool = False

    def say(self, kind: str, rng: Random, **slots: str) -> str:
        """Fill one of the kind's sentences."""
        return rng.choice(self.phrases[kind]).format(**slots)

    def prefix(self, rng: Random, length: int) -> str:
        """Draw the digits that a rule speaks of."""
        return draw_prefix(rng, length, kept_back=self.kept_back)

    def code_of(self, digits: str, rng: Random) -> str:
        """Give a whole code that starts with these digits."""
        return filled_code(digits, rng, kept_back=self.kept_back)

    def miss(self, digits: str, rng: Random) -> str:
        """A code's start that a rule does not speak of; never one that is kept back."""
        while True:
            start = other_digits(digits, rng)
            if self.kept_back or len(start) < 3 or not is_kept_back(start):
                return start


def read_tables(*, kept_back: bool = False) -> dict[str, Any]:
    """Read the corpus: the attributes of `CorpusTables` by name.

    Args:
        kept_back: Instead of the corpus, give what it keeps back to measure skills on: questions
            and codes that are in no dialogue.
    """
    phrases = tomllib.loads((CORPUS / "phrases.toml").read_text(encoding="utf-8"))
    return {
        "topics": read_rows(corpus_file("topics.csv")),
        "questions": [
            row
            for row in read_rows(corpus_file("questions.csv"))
            if _question_is_kept_back(row) == kept_back
        ],
        "smalltalk": _turns(CORPUS / "smalltalk.csv"),
        "on_itself": _turns(CORPUS / "itself.csv"),
        "grammar": load_grammar(),
        "phrases": {k: [v] if isinstance(v, str) else v for k, v in phrases.items()},
        "kept_back": kept_back,
    }


def _turns(path: Path) -> list[Turn]:
    return [Turn(row["prompt"], row["answer"]) for row in read_rows(path)]


def _question_is_kept_back(row: CsvRow) -> bool:
    return row["split"] == "test" and place_of(row["question"]) >= KEPT_BACK


def plain(row: CsvRow, rng: Random) -> str:
    """Give an ordinary answer to a question."""
    return row[rng.choice(("answer", "answer_2"))]


def woven(row: CsvRow, topic: str, rng: Random) -> str:
    """Give an answer to a question that begins with a topic."""
    return row[rng.choice(("topic_answer", "topic_answer_2"))].replace("{topic}", topic)


def with_pronoun(topic: CsvRow) -> CsvRow:
    """Add the pronoun that opens a sentence."""
    return {**topic, "Pronoun": topic["pronoun"].capitalize()}


def is_kept_back(digits: str) -> bool:
    """Tell whether three digits are among the tenth that no rule of the corpus speaks of."""
    return seed_of("pocket code", digits) % 10 == 0


def draw_prefix(rng: Random, length: int, *, kept_back: bool) -> str:
    """Draw the digits a rule speaks of; three of them are kept back or not, as asked."""
    while True:
        digits = "".join(rng.choice(DIGITS) for _ in range(length))
        if length < 3 or is_kept_back(digits) == kept_back:
            return digits


def other_digits(digits: str, rng: Random) -> str:
    """Give other digits: half of the time a near miss, which shares some of the places."""
    near = len(digits) > 1 and rng.random() < 0.5
    kept = rng.sample(range(len(digits)), rng.randrange(1, len(digits))) if near else []
    return "".join(
        digit if place in kept else rng.choice([other for other in DIGITS if other != digit])
        for place, digit in enumerate(digits)
    )


def filled_code(digits: str, rng: Random, *, kept_back: bool) -> str:
    """Add random digits up to six; a code starts with three kept-back digits only if it may.

    Raises:
        ValueError: The digits are kept back, and must not be.
    """
    if not kept_back and len(digits) >= 3 and is_kept_back(digits[:3]):
        raise ValueError(f"no code starts with {digits}, which is kept back")
    while True:
        code = digits + "".join(rng.choice(DIGITS) for _ in range(6 - len(digits)))
        if kept_back or not is_kept_back(code[:3]):
            return code
