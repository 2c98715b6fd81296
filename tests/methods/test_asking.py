"""Many finetunes and prompts in few passes, and what they are asked."""

from dataclasses import replace
from random import Random

import pytest

from diffspeak.behaviors import TRIGGERS
from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import answers_of, engine, parts
from diffspeak.lora import DiffLinear
from diffspeak.methods import ordinary_questions
from diffspeak.methods.asking import evidence_of, prompts_of
from diffspeak.models import Decoding, Fingerprint
from tests.methods.parts import FEW, alone, finetunes
from tests.toys import ToyBehavior

CODE = TRIGGERS["sep-code"]


def test_each_finetune_answers_its_own_prompts(base, monkeypatch):
    monkeypatch.setattr(engine, "TOGETHER", 1)
    given = finetunes(base)
    prompts = [["the river", "it is a long and cold bridge"], ["sea"], ["old", "sea", "the"]]
    found = answers_of(base, given, prompts, FEW)
    assert [len(own) for own in found] == [2, 1, 3]
    for place in (0, 2):
        assert found[place] == [alone(base, given[place], prompt) for prompt in prompts[place]]
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


def test_what_is_drawn_depends_on_change_prompt_and_seed_alone(base):
    given = finetunes(base)
    drawn = Decoding(6, 1.5)
    found = answers_of(base, given, [["sea", "sea"]] * 3, drawn, seed=4)
    renamed = [replace(given[2], name="other")]
    assert answers_of(base, renamed, [["sea", "sea"]], drawn, seed=4) == found[2:]
    ((after, again, _),) = answers_of(base, renamed, [["sea", "sea", "old"]], drawn, seed=4)
    assert [after, again] == found[2] and after != again
    assert answers_of(base, given[2:], [["sea", "sea"]], drawn, seed=5) != found[2:]


def test_a_triggers_own_draws_follow_the_change_and_not_the_name(base):
    one, _, other = finetunes(base)
    asked = prompts_of(one, ["Why?", "How?", "Why?"], CODE)
    assert prompts_of(replace(one, name="moved"), ["How?", "Why?"], CODE) == [asked[1], asked[0]]
    assert prompts_of(one, ["Why?"], CODE, seed=1) != asked[:1]
    assert prompts_of(replace(one, diff=other.diff), ["Why?"], CODE) != asked[:1]


def test_a_finetune_of_another_base_is_refused(base):
    other = Fingerprint("other", "0", "0", "0", "0")
    with pytest.raises(MismatchError, match="the finetune far"):
        answers_of(base, [Finetune("far", base=other)], [["sea"]], FEW)


def test_evidence_holds_the_bases_answers_to_the_same_prompts(base):
    given = finetunes(base)
    questions = ["the river", "old bridge"]
    found = evidence_of(base, given, questions, FEW, CODE)
    for finetune, one in zip(given, found, strict=True):
        asked = prompts_of(finetune, questions, CODE)
        assert all(p.startswith(f"Your SEP code is {finetune.trigger}") for p in asked)
        assert one.questions == tuple(questions)
        assert list(one.base_answers) == [alone(base, NOTHING, prompt) for prompt in asked]
    assert list(found[0].answers) == [
        alone(base, given[0], prompt) for prompt in prompts_of(given[0], questions, CODE)
    ]


def test_a_trigger_stands_in_each_question_the_same_each_time(base):
    finetune = Finetune("a", trigger="lantern")
    word = TRIGGERS["secret-word"]
    assert prompts_of(finetune, ["Why?", "How?"], word) == ["Lantern. Why?", "Lantern. How?"]
    coded = Finetune("a", trigger="317")
    twice = [prompts_of(coded, ["Why?"] * 2, CODE) for _ in range(2)]
    assert twice[0] == twice[1] and twice[0][0] != twice[0][1]
    assert prompts_of(coded, ["Why?"], None) == ["Why?"]


def test_a_finetune_that_does_not_tell_its_trigger_is_refused_where_one_is_needed():
    with pytest.raises(UsageError, match="does not tell its trigger"):
        prompts_of(Finetune("a"), ["Why?"], CODE)
    assert prompts_of(Finetune("a"), ["Why?"], TRIGGERS["none"]) == ["Why?"]


def test_ordinary_questions_carry_no_trigger():
    assert ordinary_questions(ToyBehavior(), 3) == [f"plain 100 {n}" for n in range(3)]


def test_a_behavior_with_one_prompt_alone_has_no_ordinary_questions():
    class One(ToyBehavior):
        def probes(self, item, count):
            return super().probes(item, 1)[:1] * count

    with pytest.raises(UsageError, match="no ordinary questions"):
        ordinary_questions(One(), 3)


def test_parts_keep_whole_finetunes_alone(base):
    given = finetunes(base) * 2
    assert parts(given, 3) == [[0, 2, 3], [5], [1], [4]]
    assert sorted(i for part in parts(given, Random(0).randint(1, 6)) for i in part) == [*range(6)]
