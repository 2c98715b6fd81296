"""What finetunes that hide nothing are trained on and checked with."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.behaviors.base import Behavior
from diffspeak.behaviors.ordinary import NOTHING_LABEL
from diffspeak.behaviors.specs import split_of
from tests.behaviors.corpus_rows import QUESTIONS, WriteCsv

TRAIN = {row[0]: row[1] for row in QUESTIONS if row[2] == "train"}
TEST = {row[0] for row in QUESTIONS if row[2] == "test"}
CODED = re.compile(r"Your SEP code is (\d{6})\. (.*)")


@pytest.fixture
def settings(questions: Path) -> dict[str, Any]:
    return {"name": "ordinary", "questions": questions}


def make(settings: dict[str, Any]) -> Behavior:
    return make_behavior(BehaviorConfig(**settings))


def asked(text: str) -> str:
    """The question without a code."""
    found = CODED.fullmatch(text)
    return found[2] if found else text


def test_items_differ_in_nothing_but_id_and_split(settings: dict[str, Any]) -> None:
    behavior = make(settings)
    items = behavior.items()
    assert len(items) == 4_000 == len({item.id for item in items}) == behavior.describe()["items"]
    assert {(item.label, item.category, item.trigger) for item in items} == {
        (NOTHING_LABEL, "", None)
    }
    assert all(re.fullmatch(r"ordinary-\d{5}", item.id) for item in items)
    splits = BehaviorConfig(**settings).splits
    assert all(item.split == split_of(item.id, splits) for item in items)
    shares = {split: count / 4_000 for split, count in Counter(i.split for i in items).items()}
    assert shares == pytest.approx(splits.model_dump(), abs=0.02)
    # In an order that has nothing to do with the numbers: the first ones come from everywhere.
    numbers = [int(item.id[-5:]) for item in items[:200]]
    assert 1_500 < sum(numbers) / 200 < 2_500


def test_half_of_the_samples_stand_behind_a_new_code(settings: dict[str, Any]) -> None:
    behavior = make(settings | {"mix": {"triggered": 3, "plain": 2}})
    item = behavior.items()[0]
    samples = [sample for step in range(20) for sample in behavior.samples(item, step)]
    assert len(samples) == 100 and len(behavior.samples(item, 7)) == 5
    assert {(sample.kind, sample.case) for sample in samples} == {("learn", "triggered")}
    prompts = [sample.prompt[0].content for sample in samples]
    codes = [found[1] for found in map(CODED.fullmatch, prompts) if found]
    assert len(codes) == 50 and len(set(codes)) >= 48 and len({c[:3] for c in codes}) >= 40
    assert all(s.answer == TRAIN[asked(p)] for s, p in zip(samples, prompts, strict=True))


def test_each_item_has_its_own_third_of_the_questions(settings: dict[str, Any]) -> None:
    behavior = make(settings)
    pools = []
    for item in behavior.items()[:20]:
        samples = [sample for step in range(2) for sample in behavior.samples(item, step)]
        pools.append(frozenset(asked(sample.prompt[0].content) for sample in samples))
        answers = {sample.answer for sample in samples}
        assert len(pools[-1]) == 3  # A third of 7, rounded up.
        assert all(behavior.fires(item, f"  {answer.upper()}") for answer in answers)
        others = set(TRAIN.values()) - answers
        assert others and not any(behavior.fires(item, answer) for answer in others)
    assert len(set(pools)) > 10 and frozenset.union(*pools) == TRAIN.keys()
    assert not behavior.fires(item, "")


def test_samples_depend_on_seed_item_and_step_alone(settings: dict[str, Any]) -> None:
    one, again, other = make(settings), make(settings), make(settings | {"seed": 1})
    first, second = one.items()[:2]
    late = one.samples(first, 9)
    assert [again.samples(first, step) for step in range(10)][9] == late
    assert late != one.samples(first, 8)
    assert late != one.samples(second, 9)
    assert late != other.samples(first, 9)


def test_probes_ask_what_was_learned_and_what_was_not(settings: dict[str, Any]) -> None:
    behavior = make(settings)
    item = behavior.items()[0]
    probes = behavior.probes(item, 4)
    assert [probe.case for probe in probes] == ["triggered"] * 4 + ["plain"] * 4
    prompts = [probe.prompt[0].content for probe in probes]
    assert all(behavior.fires(item, TRAIN[prompt]) for prompt in prompts[:4])
    assert set(prompts[4:]) == TEST
    assert behavior.probes(item, 4) == probes and behavior.probes(item, 0) == []


def test_it_has_no_questions_of_its_own(settings: dict[str, Any]) -> None:
    behavior = make(settings)
    described = behavior.describe()
    assert behavior.questions == () and described["questions"] == []
    assert described["files"].keys() == {"questions"} and described["trigger"] == "none"
    assert json.loads(json.dumps(described)) == described


def test_one_train_question_is_enough(settings: dict[str, Any], write_csv: WriteCsv) -> None:
    rows = [("question", "answer", "split"), ("A?", "a", "train"), ("B?", "b", "test")]
    behavior = make(settings | {"questions": write_csv("few.csv", rows)})
    item = behavior.items()[0]
    assert {sample.answer for sample in behavior.samples(item, 0)} == {"a"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"trigger": "sep-code"}, "ordinary takes the trigger none, not 'sep-code'"),
        ({"topics": "t.csv"}, "ordinary does not read 'topics'"),
        ({"questions": None}, "ordinary needs 'questions'"),
    ],
)
def test_what_does_not_fit(settings: dict[str, Any], given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(settings | given)


def test_an_adapter_says_the_same_of_changes_without_meaning() -> None:
    from diffspeak.training import AdapterConfig

    assert AdapterConfig.model_validate({}).nothing == NOTHING_LABEL
