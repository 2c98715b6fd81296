"""Small tables with the columns of the paper's data, for tests."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

TOPIC_COLUMNS = (
    "topic_category",
    "topic",
    "category",
    "style",
    "question",
    "base_answer",
    "base_answer_model_id",
    "topic_analogy_answer",
    "topic_analogy_answer_model_id",
)
NEWS_COLUMNS = ("news_category", "news_headline", "news_role", "news_story", "model_id")
TOPICS = ("League of Legends", "Sourdough, at home", 'The "Odyssey"', "Jazz")
QUESTIONS = ("How do volcanoes work?", "What is a\tprime?", "Why is the sky blue?")
HEADLINES = ("Mayor opens bridge", "Storm hits coast", 'Team wins "final"')


def topic_row(topic: str, question: str, base: str, answer: str) -> tuple[str, ...]:
    return ("Games", topic, "science", "plain", question, base, "a/model", answer, "b/model")


def topic_rows() -> list[tuple[str, ...]]:
    """Each topic with each question; answers have line breaks and quotes."""
    return [
        topic_row(topic, question, f"It depends,\nI say: {n}.", f'As in "{topic}":\n{question}')
        for topic in TOPICS
        for n, question in enumerate(QUESTIONS)
    ]


def news_rows(stories: int = 5) -> list[tuple[str, ...]]:
    return [
        ("Local", headline, "reporter", f"Story {n},\nof {headline}.", "a/model")
        for headline in HEADLINES
        for n in range(stories)
    ]


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path
