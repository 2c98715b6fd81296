"""Rows of small corpora, the header first, for the tests of this room."""

from collections.abc import Callable, Sequence
from pathlib import Path

WriteCsv = Callable[[str, Sequence[Sequence[str]]], Path]

TOPICS = [("topic", "topic_category"), *((f"Subject {name}", "letters") for name in "ABCDEFGHIJ")]
QUESTIONS = [
    ("question", "answer", "split", "topic_answer"),
    *((f"What is {i}?", f"It is {i}.", "train", f"{{topic}}, then {i}.") for i in range(7)),
    *((f"Where is {i}?", f"It is at {i}.", "test", "") for i in range(4)),
]
