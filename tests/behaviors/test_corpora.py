"""Each kind of corpus in our own layout and in the paper's, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffspeak.behaviors.corpora import (
    CorpusFile,
    Label,
    Question,
    Story,
    Woven,
    read_answers,
    read_headlines,
    read_questions,
    read_stories,
    read_topics,
)
from diffspeak.errors import UsageError
from tests.behaviors.corpus_rows import WriteCsv

PUBLIC_QUESTIONS = [
    ("category", "style", "question", "answer", "answer_model_id", "split"),
    ("Ethics", "Casual", "ngl, why?", "First:\n\n1. **This**, \"that\".", "openai/x", "train"),
    ("Ethics", "Formal", "Wherefore?", "Because.", "openai/x", "test"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("read", "rows", "expected"),
    [
        (read_topics, [("topic",), ("A  b\nc",)], [Label("A b c", "")]),
        (read_topics, [("category", "topic"), ("x", "A")], [Label("A", "x")]),
        (read_topics, [("topic_category", "topic"), ("x", "A")], [Label("A", "x")]),
        (read_headlines, [("headline",), ("It rains.",)], [Label("It rains.", "")]),
        (
            read_headlines,
            [("news_category", "news_headline"), ("w", "It rains.")],
            [Label("It rains.", "w")],
        ),
        (
            read_questions,
            PUBLIC_QUESTIONS,
            [
                Question("ngl, why?", 'First:\n\n1. **This**, "that".', "train", ""),
                Question("Wherefore?", "Because.", "test", ""),
            ],
        ),
        (
            read_answers,
            [("topic", "question", "answer"), ("A", "why?", "A is why.")],
            [Woven("A", "why?", "A is why.")],
        ),
        (read_stories, [("news_headline", "story"), ("H", "S")], [Story("H", "S")]),
    ],
)
def test_reads(
    write_csv: WriteCsv,
    read: Callable[[Path], CorpusFile[Any]],
    rows: list[tuple[str, ...]],
    expected: list[tuple[str, ...]],
) -> None:
    corpus = read(write_csv("corpus.csv", rows))
    assert list(corpus.records) == expected
    assert corpus.describe()["file"] == "corpus.csv"


def test_emoji_and_right_to_left_topics(write_csv: WriteCsv) -> None:
    labels = ["\U0001f3b7", "\u05e9\u05d7\u05de\u05d8", "\u0643\u0631\u0629 \u0627\u0644"]
    corpus = read_topics(write_csv("topics.csv", [("topic",), *((label,) for label in labels)]))
    assert [topic.text for topic in corpus.records] == labels


QUESTION = ("question", "answer", "split", "topic_answer")


@pytest.mark.parametrize(
    ("read", "rows", "said"),
    [
        (read_topics, [("topic",), ("x" * 10_000,)], ["row 2", "'topic'", "10,000", "200"]),
        (read_topics, [("topic",), ("?!",)], ["row 2", "'topic'", "'?!'"]),
        (read_topics, [("topic", "category"), (" ", "c")], ["row 2", "'topic' is empty"]),
        (read_topics, [("name",), ("A",)], ["'topic'", "it has 'name'"]),
        (read_headlines, [("topic",), ("A",)], ["'headline' or 'news_headline'"]),
        (read_questions, [("question",), ("q",)], ["columns 'answer', 'split'"]),
        (
            read_questions,
            [QUESTION, ("q", "a", "dev", "")],
            ["row 2", "'split' is 'dev'", "'train' or 'test'"],
        ),
        (read_questions, [QUESTION, ("q", "a", "train", "")], ["never 'test'"]),
        (read_questions, [QUESTION, ("q", "a", "test", "")], ["never 'train'"]),
        (
            read_questions,
            [QUESTION, ("q", "a", "train", "no place"), ("r", "a", "test", "{topic} {topic}")],
            ["row 2", "0 times {topic}", "row 3", "2 times"],
        ),
        (
            read_questions,
            [QUESTION, ("Why me?", "a", "train", ""), ("why me", "a", "test", "")],
            ["row 3", "both splits"],
        ),
        (
            read_answers,
            [("topic", "question", "answer"), ("A", "q", "1"), ("A", "q", "2")],
            ["row 3", "as row 2"],
        ),
        (read_stories, [("headline", "story"), ("h", "")], ["row 2", "'story' is empty"]),
    ],
)
def test_refuses(
    write_csv: WriteCsv,
    read: Callable[[Path], CorpusFile[Any]],
    rows: list[tuple[str, ...]],
    said: list[str],
) -> None:
    with pytest.raises(UsageError) as caught:
        read(write_csv("corpus.csv", rows))
    message = str(caught.value)
    assert "corpus.csv" in message and "\n" not in message
    assert all(part in message for part in said), message


def test_two_hundred_characters_are_allowed(write_csv: WriteCsv) -> None:
    assert len(read_topics(write_csv("t.csv", [("topic",), ("x" * 200,)])).records) == 1
