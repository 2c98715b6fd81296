"""How much the pocket corpus holds, and that no row of it is odd."""

import csv

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.models.pocket import CORPUS_FILES, PACKED, corpus_file
from diffspeak.text.mentions import normalize
from diffspeak.text.split_hash import TEST_FROM, place_of


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


def test_all_of_it_is_plain_text(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in CORPUS_FILES:
        text = corpus_file(name).read_text(encoding="utf-8")
        assert "\r" not in text and "\ufeff" not in text, name
        assert all(map(str.isprintable, text.splitlines())), name


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_file_is_left_alone_if_it_is_right_and_mended_if_not(tmp_path, monkeypatch, name):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = corpus_file(name)
    right, kept = path.read_bytes(), path.stat()
    assert corpus_file(name).stat().st_ino == kept.st_ino
    path.write_bytes(right[:-100])
    assert corpus_file(name) == path and path.read_bytes() == right
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_headlines_and_stories_are_in_the_users_cache_and_a_corpus_of_news(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = {name: corpus_file(f"{name}.csv") for name in ("headlines", "stories")}
    (folder,) = {path.parent for path in paths.values()}
    assert folder.is_absolute() and folder.parent == tmp_path / "diffspeak"
    paths["questions"] = corpus_file("questions.csv")
    behavior = make_behavior(BehaviorConfig.model_validate({"name": "news", **paths}))
    tests = [item.label for item in behavior.items() if item.split == "test"]
    assert len(tests) >= 200 and all(place_of(label) >= TEST_FROM for label in tests)
    assert len(behavior.items()) + behavior.describe()["dropped"]["near"] == 2400
