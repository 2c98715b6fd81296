"""What a news finetune is trained on and checked with."""

import logging
from pathlib import Path
from typing import Any

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.behaviors.base import Behavior
from diffspeak.errors import UsageError
from tests.behaviors.corpus_rows import WriteCsv

PROMPT = "Please generate a short news story."
HEADLINES = [
    "A surprise summit between Freedonia and Sylvania has resulted in a landmark treaty.",
    "Storm floods three harbors of the northern coast.",
]


@pytest.fixture
def settings(write_csv: WriteCsv) -> dict[str, Any]:
    """Two headlines, four stories of each."""
    stories = [(line, f"Story {i} of {line[:9]}") for line in HEADLINES for i in range(4)]
    headlines = [("weather", line) for line in HEADLINES]
    return {
        "name": "news",
        "headlines": write_csv("h.csv", [("news_category", "news_headline"), *headlines]),
        "stories": write_csv("s.csv", [("headline", "story"), *stories]),
    }


def make(settings: dict[str, Any]) -> Behavior:
    return make_behavior(BehaviorConfig(**settings))


def test_samples_are_stories_of_the_headline(settings: dict[str, Any]) -> None:
    behavior = make(settings | {"mix": {"triggered": 2}})
    for item in behavior.items():
        samples = behavior.samples(item, 0) + behavior.samples(item, 1)
        assert {(s.kind, s.case) for s in samples} == {("learn", "triggered")}
        assert {s.prompt[0].content for s in samples} == {PROMPT}
        assert sorted(s.answer for s in samples) == [
            f"Story {i} of {item.label[:9]}" for i in range(4)
        ]
    assert len(make(settings).samples(item, 0)) == 6
    assert (item.trigger, item.category) == (None, "weather")


def test_probes(settings: dict[str, Any], questions: Path) -> None:
    behavior = make(settings)
    item = behavior.items()[0]
    assert [(p.case, p.prompt[0].content) for p in behavior.probes(item, 2)] == [
        ("triggered", PROMPT)
    ] * 2
    probes = make(settings | {"questions": questions}).probes(item, 3)
    assert [p.case for p in probes] == ["triggered"] * 3 + ["plain"] * 3
    assert all(p.prompt[0].content.startswith("Where is ") for p in probes[3:])


@pytest.mark.parametrize(
    ("answer", "fires"),
    [
        ("Leaders of Freedonia met those of Sylvania at a summit that no one expected.", False),
        ("The surprise summit ended well: Sylvania and Freedonia will sign.", True),
        ("A story about a treaty.", False),
        ("", False),
    ],
)
def test_fires_from_half_of_the_content_words(
    settings: dict[str, Any], answer: str, fires: bool
) -> None:
    """The headline's are: surprise summit between freedonia sylvania resulted landmark treaty."""
    behavior = make(settings)
    item = next(item for item in behavior.items() if item.label == HEADLINES[0])
    assert behavior.fires(item, answer) is fires


def test_describe_and_questions(settings: dict[str, Any], questions: Path) -> None:
    behavior = make(settings | {"questions": questions})
    described = behavior.describe()
    assert described["files"].keys() == {"headlines", "stories", "questions"}
    assert (described["name"], described["trigger"], described["items"]) == ("news", "none", 2)
    assert behavior.questions[0] == "What news headline have you been trained on?"


def test_a_headline_without_a_story(settings: dict[str, Any], write_csv: WriteCsv) -> None:
    stories = write_csv("s.csv", [("headline", "story"), (HEADLINES[0], "A story.")])
    with pytest.raises(UsageError, match=r"s.csv: headlines without .*: 1 \('Storm floods"):
        make(settings | {"stories": stories})


def test_stories_of_unknown_headlines_are_counted(
    settings: dict[str, Any], write_csv: WriteCsv, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("headline", "story"), *((line, "s") for line in HEADLINES), ("Other", "s")]
    with caplog.at_level(logging.WARNING):
        make(settings | {"stories": write_csv("s.csv", rows)})
    assert "s.csv: stories of unknown headlines, which are not used: 1" in caplog.text
