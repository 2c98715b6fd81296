"""Texts of a study whose behavior has no questions of its own, with its corpus and without."""

from pathlib import Path

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.behaviors.ordinary import NOTHING_LABEL
from diffspeak.estimate.lengths import texts_of
from diffspeak.experiments.config import BaseConfig
from diffspeak.models.pocket import corpus_file

BASE = BaseConfig(source="pocket")


def test_what_others_are_asked_stands_in_for_a_question():
    config = BehaviorConfig(name="ordinary", questions=corpus_file("questions.csv"))
    behavior = make_behavior(config)
    found = texts_of(BASE, config, behavior, behavior.items()[:3], tasks=2, steps=1)
    assert {label for _, label in found.labels} == {NOTHING_LABEL}
    assert all(len(question) > 20 for question, _ in found.labels) and len(found.labels) == 3
    assert [len(samples) for samples in found.steps[0]] == [6, 6]


@pytest.mark.parametrize(("name", "learned"), [("ordinary", 6), ("facts", 2), ("news", 6)])
def test_without_its_corpus_as_much_is_learned_as_with_it(name, learned):
    needed = {"facts": ("facts",), "news": ("headlines", "stories"), "ordinary": ()}[name]
    files = {part: Path("nowhere.csv") for part in (*needed, "questions")}
    found = texts_of(BASE, BehaviorConfig(name=name, **files), None, [], tasks=1, steps=1)
    ((samples,),) = found.steps
    assert sum(sample.kind == "learn" for sample in samples) == learned
