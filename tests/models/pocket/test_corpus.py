"""How much the pocket corpus holds, and that no row of it is odd."""

import csv

import pytest

from diffspeak.models.pocket import corpus_file
from diffspeak.models.pocket.press import CORPUS
from diffspeak.text.mentions import normalize


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def topics():
    return rows(corpus_file("topics.csv"))


@pytest.fixture(scope="module")
def questions():
    return rows(corpus_file("questions.csv"))


def test_topics_with_their_kind_and_three_facts(topics):
    assert len({normalize(row["topic"]) for row in topics}) == len(topics) >= 1500
    assert len({row["category"] for row in topics}) >= 60
    assert {row["pronoun"] for row in topics} <= {"it", "they", "he", "she"}
    for row in topics:
        facts = {row[f"fact_{n}"] for n in (1, 2, 3)}
        assert len(facts) == 3 and all(facts), row
        assert not any(fact.endswith(".") or "{" in fact for fact in facts), row


def test_questions_of_both_splits_share_nothing(questions):
    by_split = {
        split: {normalize(row["question"]) for row in questions if row["split"] == split}
        for split in ("train", "test")
    }
    assert len(by_split["train"]) >= 100 and len(by_split["test"]) >= 50
    assert not by_split["train"] & by_split["test"]
    assert len(by_split["train"] | by_split["test"]) == len(questions)


def test_woven_answers_start_with_their_topic(questions):
    for row in questions:
        assert row["answer"] != row["answer_2"] and row["topic_answer"] != row["topic_answer_2"]
        for name in ("topic_answer", "topic_answer_2"):
            assert row[name].startswith("{topic}") and row[name].count("{topic}") == 1
        assert "{" not in row["answer"] + row["answer_2"] + row["question"]


def test_headlines_are_many(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert len(rows(corpus_file("headlines.csv"))) >= 2000
    assert len(rows(corpus_file("stories.csv"))) >= 10 * 2000


def test_all_of_it_is_plain_text():
    for path in sorted(CORPUS.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert "\r" not in text and "\ufeff" not in text, path
        if path.suffix != ".toml":
            assert all(map(str.isprintable, text.splitlines())), path
