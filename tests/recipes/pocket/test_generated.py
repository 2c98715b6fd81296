"""The generated files are the ones that ship; invented facts are many, and none names a topic."""

import csv
import gzip
from collections import defaultdict

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.models.pocket import PACKED, base_folder, corpus_file
from diffspeak.text.similarity import content_words
from recipes.pocket.generated import (
    EACH,
    FactRow,
    cache_folders,
    generate_files,
    invented_facts,
    write_files,
)
from recipes.pocket.news_grammar import headlines_with_stories, load_grammar


def rows(content):
    return list(csv.reader(content.decode().splitlines()))


@pytest.fixture(scope="module")
def generated():
    return generate_files()


def test_what_ships_is_what_the_recipe_writes(generated, tmp_path):
    write_files(tmp_path)
    packed = {path.name: gzip.decompress(path.read_bytes()) for path in tmp_path.iterdir()}
    assert packed == {f"{name}.gz": content for name, content in generated.items()}
    assert generated.keys() == PACKED.keys()
    shipped = base_folder().parent / "corpus"
    for name, content in packed.items():
        assert gzip.decompress((shipped / name).read_bytes()) == content, name


def test_each_is_unpacked_to_a_folder_named_after_its_source():
    assert cache_folders() == PACKED


def test_headlines_and_stories_hold_the_edition(generated):
    told = list(headlines_with_stories(load_grammar()))
    header, *headlines = rows(generated["headlines.csv"])
    assert header == ["headline"]
    assert [headline for (headline,) in headlines] == list(dict.fromkeys(h for h, _ in told))
    header, *stories = rows(generated["stories.csv"])
    assert header == ["headline", "story"] and stories == [list(pair) for pair in told]


@pytest.fixture(scope="module")
def facts():
    """All that is told of each fact."""
    found = defaultdict(list)
    for told in invented_facts():
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
    assert path.parent.parent == tmp_path / "diffspeak"
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == list(FactRow._fields)
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
