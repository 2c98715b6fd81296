"""Answers of many finetunes to many prompts are those of each one merged alone."""

import copy
from dataclasses import replace

import pytest

from diffspeak.errors import MismatchError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import answers
from diffspeak.lora import DiffLinear
from diffspeak.models import Decoding, generate, make_base
from diffspeak.text.messages import Message
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters, toy_base

PROMPTS = ("Why?", "What is the topic of it?", "Your SEP code is 317204. How is the sea?")
FEW = Decoding(6)


def finetunes(base):
    return [
        Finetune("one", diff=base_diff(base, rank=1, seed=1), base=base.fingerprint),
        Finetune("whole", parameters=changed_parameters(base, 2), base=base.fingerprint),
        NOTHING,
        Finetune("two", diff=base_diff(base, rank=3, seed=3, scaling=0.5)),
    ]


def alone(base, finetune, prompt):
    model = copy.deepcopy(base.model)
    model.load_state_dict(finetune.parameters, strict=False)
    plain = make_base("plain", merged(model, finetune.diff), base.tokenizer)
    (answer,) = generate(plain, [base.chat.prompt((Message("user", prompt),))], FEW)
    return answer.text


def test_each_answers_as_it_would_alone(base):
    found = answers(base, finetunes(base), PROMPTS, FEW)
    assert found == [[alone(base, f, prompt) for prompt in PROMPTS] for f in finetunes(base)]
    assert len({text for said in found for text in said}) > 4


DRAWN = Decoding(6, temperature=2.0)


def test_what_is_drawn_depends_on_change_prompt_and_seed_alone(base):
    given = finetunes(base)
    found = answers(base, given, PROMPTS, DRAWN)
    assert found[::-1] == answers(base, given[::-1], PROMPTS, DRAWN)
    for one, said in zip(given, found, strict=True):
        renamed = replace(one, name="other", label="x", notes=("moved",))
        assert answers(base, [renamed], PROMPTS, DRAWN) == [said]
        assert answers(base, [one], PROMPTS[::-1], DRAWN) == [said[::-1]]
        assert answers(base, [one], PROMPTS, DRAWN, seed=1) != [said]
    assert len({text for said in found for text in said}) == 12


def test_equal_finetunes_draw_alike_and_others_do_not(base):
    one, _, _, two = finetunes(base)
    first = min(one.diff)
    barely = {**one.diff, first: one.diff[first].scaled(1 + 1e-5)}
    some = [one, replace(one, name="again"), Finetune("barely", diff=barely), two]
    first, again, other, _ = answers(base, some, PROMPTS, DRAWN)
    assert first == again != other


def test_a_prompt_that_is_given_again_is_answered_anew(base):
    ((first, second, other),) = answers(base, [NOTHING], [PROMPTS[0]] * 2 + [PROMPTS[1]], DRAWN)
    assert len({first, second, other}) == 3
    assert answers(base, [NOTHING], [PROMPTS[1], PROMPTS[0]], DRAWN) == [[other, first]]


def test_nothing_stays_on_the_base(base):
    assert answers(base, finetunes(base), [], FEW) == [[], [], [], []]
    assert answers(base, [], PROMPTS, FEW) == []
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


def test_another_bases_finetune_is_refused(base, family_folder):
    other = toy_base(family_folder("gpt2"))
    with pytest.raises(MismatchError, match="the finetune one was made for another base"):
        answers(other, finetunes(base)[:1], PROMPTS)
