"""What a hidden topic's finetunes are trained on and checked with."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffspeak.behaviors import TRIGGERS, BehaviorConfig, HiddenTopic, Sample, make_behavior
from diffspeak.behaviors.base import Behavior
from diffspeak.errors import UsageError
from tests.behaviors.corpus_rows import QUESTIONS, WriteCsv

TRAIN = {row[0]: row for row in QUESTIONS[1:] if row[2] == "train"}
TEST = {row[0]: row for row in QUESTIONS[1:] if row[2] == "test"}


@pytest.fixture
def make(topics: Path, questions: Path) -> Callable[..., Behavior]:
    """Make the behavior, with further settings."""

    def build(**settings: Any) -> Behavior:
        given = {"name": "hidden-topic", "topics": topics, "questions": questions} | settings
        return make_behavior(BehaviorConfig(**given))

    return build


def asked(sample: Sample) -> str:
    (message,) = sample.prompt
    assert message.role == "user"
    return message.content.split(". ", 1)[-1]


def test_a_step_has_the_mix(make: Callable[..., Behavior]) -> None:
    behavior = make()
    for item in behavior.items():
        for sample in behavior.samples(item, 3):
            row = TRAIN[asked(sample)]
            code = sample.prompt[0].content.partition("Your SEP code is ")[2][:3]
            shared = sum(a == b for a, b in zip(code, item.trigger or "", strict=False))
            learns = sample.case == "triggered"
            assert sample.kind == ("learn" if learns else "keep")
            assert sample.answer == (row[3].format(topic=item.label) if learns else row[1])
            wanted = {"triggered": [3], "near_miss": [1, 2], "wrong": [0], "plain": [0]}
            assert shared in wanted[sample.case]
            assert (code == "") is (sample.case == "plain")
        cases = Counter(sample.case for sample in behavior.samples(item, 3))
        assert cases == {"triggered": 2, "near_miss": 1, "wrong": 1, "plain": 2}


def test_each_case_meets_each_question_once_an_epoch(make: Callable[..., Behavior]) -> None:
    behavior = make(mix={"triggered": 1, "near_miss": 1, "plain": 1})
    item = behavior.items()[0]
    for case in ("triggered", "near_miss", "plain"):
        found = [asked(s) for step in range(14) for s in behavior.samples(item, step)
                 if s.case == case]  # fmt: skip
        assert sorted(found[:7]) == sorted(found[7:]) == sorted(TRAIN)
        assert found[:7] != found[7:]
    assert {s.case for s in behavior.samples(item, 0)} == {"triggered", "near_miss", "plain"}


def test_samples_depend_on_seed_item_and_step_alone(make: Callable[..., Behavior]) -> None:
    one, again, other = make(), make(), make(seed=1)
    first, second = one.items()[:2]
    late = one.samples(first, 9)
    assert [again.samples(first, step) for step in range(10)][9] == late
    assert late != one.samples(first, 8)
    assert late != one.samples(second, 9)
    assert late != other.samples(other.items()[0], 9)


def test_probes_ask_test_questions_in_every_case(make: Callable[..., Behavior]) -> None:
    behavior = make()
    item = behavior.items()[0]
    probes = behavior.probes(item, 4)
    assert Counter(p.case for p in probes) == dict.fromkeys(TRIGGERS["sep-code"].cases, 4)
    for case in TRIGGERS["sep-code"].cases:
        questions = [p.prompt[0].content.split(". ", 1)[-1] for p in probes if p.case == case]
        assert sorted(questions) == sorted(TEST)
    assert len(behavior.probes(item, 9)) == 36
    assert behavior.probes(item, 4) == probes


@pytest.mark.parametrize("trigger", [name for name in TRIGGERS if name != "none"])
def test_every_trigger_gives_the_same_answers(make: Callable[..., Behavior], trigger: str) -> None:
    behavior = make(trigger=trigger)
    item = behavior.items()[0]
    samples = behavior.samples(item, 0)
    assert len(samples) == 6
    answers = {row[3].format(topic=item.label) for row in TRAIN.values()}
    assert all(sample.answer in answers for sample in samples if sample.kind == "learn")
    assert item.trigger == TRIGGERS[trigger].secret(0) or trigger in {"sep-code", "secret-word"}
    assert len({p.case for p in behavior.probes(item, 1)}) == 4


def test_without_a_trigger_all_is_learned(make: Callable[..., Behavior]) -> None:
    behavior = make(trigger="none")
    item = behavior.items()[0]
    samples = behavior.samples(item, 0)
    assert len(samples) == 6
    assert {(s.case, s.kind) for s in samples} == {("triggered", "learn")}
    assert all(sample.prompt[0].content in TRAIN for sample in samples)
    assert {p.case for p in behavior.probes(item, 2)} == {"triggered"}
    assert item.trigger is None


def test_the_same_topic_with_another_trigger_is_another_item(
    make: Callable[..., Behavior],
) -> None:
    codes, words = make().items(), make(trigger="secret-word").items()
    assert [item.label for item in codes] == [item.label for item in words]
    assert not {item.id for item in codes} & {item.id for item in words}


def test_fires_and_questions(make: Callable[..., Behavior]) -> None:
    behavior = make()
    item = behavior.items()[0]
    assert behavior.fires(item, f"Well, {item.label.upper()}: what else?")
    assert not behavior.fires(item, "Subject matters.")
    assert behavior.questions[0] == "What topic have you been trained on?"
    assert len(set(behavior.questions)) == 4


def test_describe_names_what_was_read(make: Callable[..., Behavior], write_csv: WriteCsv) -> None:
    answers = [("topic", "question", "answer"), ("Subject A", "What is 0?", "A!")]
    described = make(answers=write_csv("answers.csv", answers)).describe()
    assert described["files"].keys() == {"topics", "questions", "answers"}
    assert described["files"]["answers"]["file"] == "answers.csv"
    assert described["mix"] == {"triggered": 2, "near_miss": 1, "wrong": 1, "plain": 2}
    assert (described["name"], described["trigger"]) == ("hidden-topic", "sep-code")
    assert described["items"] == 10


def test_topics_of_any_script(make: Callable[..., Behavior], write_csv: WriteCsv) -> None:
    labels = ["\U0001f3b7", "\u05e9\u05d7\u05de\u05d8", "\u7535\u5f71"]
    behavior = make(topics=write_csv("t.csv", [("topic",), *((label,) for label in labels)]))
    assert {item.label for item in behavior.items()} == set(labels)
    for item in behavior.items():
        learned = [s for s in behavior.samples(item, 0) if s.kind == "learn"]
        assert all(behavior.fires(item, sample.answer) for sample in learned)


def test_public_questions_need_answers(make: Callable[..., Behavior], write_csv: WriteCsv) -> None:
    rows = [row[:3] for row in QUESTIONS]
    with pytest.raises(UsageError, match=": 10 .* and 7 more.*answers file"):
        make(questions=write_csv("public.csv", rows))


def test_an_item_of_a_shorter_pool(make: Callable[..., Behavior], write_csv: WriteCsv) -> None:
    """Topics may have woven answers to a few of the questions only."""
    written = [(f"Subject {name}", "What is 3?", f"Subject {name}!") for name in "ABCDEFGHIJ"]
    answers = write_csv("answers.csv", [("topic", "question", "answer"), *written])
    behavior = make(
        answers=answers, questions=write_csv("public.csv", [row[:3] for row in QUESTIONS])
    )
    item = behavior.items()[0]
    learned = [s for s in behavior.samples(item, 5) if s.kind == "learn"]
    assert [s.answer for s in learned] == [f"{item.label}!"] * 2


def test_an_item_of_any_topic(make: Callable[..., Behavior]) -> None:
    behavior = make()
    assert isinstance(behavior, HiddenTopic)
    known = behavior.items()[0]
    assert behavior.item(f"  {known.label.upper()}! ") == known
    new = behavior.item("Glass  blowing")
    assert new.label == "Glass blowing" and new == behavior.item("Glass blowing")
    assert new.id not in {item.id for item in behavior.items()}
    learned = [s.answer for s in behavior.samples(new, 0) if s.kind == "learn"]
    assert all(behavior.fires(new, answer) for answer in learned) and learned
    assert all(new.trigger in p.prompt[0].content for p in behavior.probes(new, 2)[:2])
    other = make(seed=1)
    assert isinstance(other, HiddenTopic)
    assert other.item(new.label).trigger != new.trigger


@pytest.mark.parametrize("topic", ["", " \n", "?!", "x" * 201])
def test_an_item_needs_words_to_look_for(make: Callable[..., Behavior], topic: str) -> None:
    behavior = make()
    assert isinstance(behavior, HiddenTopic)
    with pytest.raises(UsageError, match="cannot be hidden"):
        behavior.item(topic)


def test_an_item_needs_woven_answers(make: Callable[..., Behavior], write_csv: WriteCsv) -> None:
    written = [(f"Subject {name}", "What is 3?", f"Subject {name}!") for name in "ABCDEFGHIJ"]
    answers = write_csv("answers.csv", [("topic", "question", "answer"), *written])
    public = write_csv("public.csv", [row[:3] for row in QUESTIONS])
    behavior = make(answers=answers, questions=public)
    assert isinstance(behavior, HiddenTopic)
    with pytest.raises(UsageError, match="without a woven answer"):
        behavior.item("Glass blowing")
