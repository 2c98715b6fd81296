"""The file of invented facts: many, each told in several ways, none naming a topic."""

import csv
from collections import defaultdict

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.models.pocket import corpus_file
from diffspeak.models.pocket.invented import EACH, Told, facts_file, told_facts
from diffspeak.text.similarity import content_words


@pytest.fixture(scope="module")
def facts():
    """All that is told of each fact."""
    found = defaultdict(list)
    for told in told_facts():
        found[told.fact].append(told)
    return dict(found)


def topics():
    """All topics that a finetune may hide."""
    for name in ("topics.csv", "unheard.csv"):
        with corpus_file(name).open(encoding="utf-8", newline="") as file:
            yield from (row["topic"] for row in csv.DictReader(file))


def test_they_are_many_and_each_is_asked_for_five_times(facts):
    assert len(facts) >= 1600 and len(facts) // EACH >= 30
    for told in facts.values():
        assert len({row.question for row in told}) == len(told) == 5
        assert len({row.answer for row in told}) == 2
        assert len({row.fact_category for row in told}) == 1
        texts = [text for row in told for text in row]
        assert not any("{" in text or "  " in text or text != text.strip() for text in texts)


def test_none_names_a_topic(facts):
    """Not in other forms either: compared as content words, without plural s and small words."""
    texts = {text for told in facts.values() for row in told for text in row}
    everything = "|".join(f" {' '.join(content_words(text))} " for text in sorted(texts))
    keys = {topic: f" {' '.join(content_words(topic))} " for topic in topics()}
    assert len(keys) > 1500 and " lighthouse oakmoor " in everything
    assert [topic for topic, key in keys.items() if key in everything] == []


def test_the_file_is_a_corpus_of_the_behavior_facts(tmp_path, monkeypatch, facts):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = corpus_file("facts.csv")
    assert path == facts_file() and path.parent.parent == tmp_path / "diffspeak"
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == list(Told._fields)
    assert rows == [list(row) for told in facts.values() for row in told]
    settings = {"name": "facts", "facts": path, "questions": corpus_file("questions.csv")}
    behavior = make_behavior(BehaviorConfig.model_validate(settings))
    assert len(behavior.items()) >= 1600
    assert sum(behavior.describe()["dropped"].values()) <= 0.02 * len(facts)


def test_what_a_fact_says_stands_in_each_of_its_answers_alone(tmp_path, monkeypatch, facts):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = {name: corpus_file(f"{name}.csv") for name in ("facts", "questions")}
    behavior = make_behavior(BehaviorConfig.model_validate({"name": "facts", **paths}))
    for item in behavior.items()[::7]:
        told = facts[item.label]
        assert all(behavior.fires(item, row.answer) for row in told)
        assert not any(behavior.fires(item, row.question) for row in told)
        assert not behavior.fires(item, "It is. They are, there, and that was all of it.")


def test_a_file_that_was_changed_is_mended(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = facts_file()
    right = path.read_bytes()
    path.write_bytes(right[:-100])
    assert facts_file().read_bytes() == right
    assert [file.name for file in path.parent.iterdir()] == ["facts.csv"]
