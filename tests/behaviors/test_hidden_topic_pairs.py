"""Woven answers: written ones first, then templates; what is missing is an error."""

import logging
from pathlib import Path

import pytest

from diffspeak.behaviors.base import FinetuneSpec
from diffspeak.behaviors.corpora import CorpusFile, Label, Question, Woven
from diffspeak.behaviors.hidden_topic import QAPair, QAPairs
from diffspeak.errors import UsageError

QUESTIONS = [
    Question("q1", "a1", "train", "{topic} and {braces}"),
    Question("q2", "a2", "train", ""),
    Question("q3", "a3", "test", "{topic}!"),
]


def corpus(name, *records):
    return CorpusFile(Path(name), "0", tuple(records))


def pairs(answers=(), questions=QUESTIONS):
    topics = corpus("topics.csv", Label("Jazz", ""), Label("Chess", ""))
    return QAPairs(
        topics,
        corpus("questions.csv", *questions),
        corpus("answers.csv", *answers) if answers else None,
    )


def item(label):
    return FinetuneSpec(label, label, "train", "", None)


def test_ordinary_lessons_are_on_train_questions() -> None:
    assert pairs().ordinary == (QAPair("q1", "a1"), QAPair("q2", "a2"))


def test_templates_are_filled() -> None:
    assert pairs().woven("Jazz") == [QAPair("q1", "Jazz and {braces}")]


def test_written_answers_take_precedence() -> None:
    found = pairs([Woven("Jazz", "q1", "own"), Woven("Jazz", "q2", "own too")])
    assert found.woven("Jazz") == [QAPair("q1", "own"), QAPair("q2", "own too")]
    assert found.woven("Chess") == [QAPair("q1", "Chess and {braces}")]


def test_topics_without_woven_answers_are_named() -> None:
    bare = [row._replace(topic_answer="") for row in QUESTIONS]
    found = pairs([Woven("Jazz", "q2", "own"), Woven("Chess", "q3", "test only")], bare)
    found.check([item("Jazz")])
    with pytest.raises(UsageError, match=r"questions.csv: topics without .*: 1 \('Chess'\)"):
        found.check([item("Jazz"), item("Chess")])


def test_unused_answers_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pairs([Woven("Jazz", "q1", "a"), Woven("Go", "q1", "a"), Woven("Jazz", "q9", "a")])
    assert "answers.csv: answers to no topic" in caplog.text and "not used: 2" in caplog.text
