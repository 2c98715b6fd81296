"""Asking and scoring many finetunes at once is doing it with each one merged alone."""

import copy

import pytest
import torch

from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import Ask, Engine
from diffspeak.models import Decoding, generate, make_base
from diffspeak.text.messages import Message
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters

QUESTIONS = ["Topic?", "What is the topic of it?", "Why?", "How is the sea?", "Why?"]
ANSWERS = ["ocean", "music and the sea", "it is cold", "bridge", "a river"]


def finetunes(base):
    """Low-rank ones of several ranks, whole ones between them, and none."""
    return [
        Finetune("a", diff=base_diff(base, rank=1, seed=1)),
        Finetune("whole", parameters=changed_parameters(base, 2)),
        NOTHING,
        Finetune("b", diff=base_diff(base, rank=3, seed=3, scaling=0.5)),
        Finetune("linears", parameters=changed_parameters(base, 4, linears(base))),
    ]


def linears(base):
    return [f"{name}.weight" for name in base_diff(base) if "q_proj" in name]


def alone(base, finetune, adapter):
    """A plain model that is base + finetune + adapter."""
    model = copy.deepcopy(base.model)
    model.load_state_dict(finetune.parameters, strict=False)
    return make_base(finetune.name, merged(model, finetune.diff, adapter), base.tokenizer)


@pytest.fixture(scope="module")
def told(base):
    """What each finetune says, from plain models: (prompts, answers, logprobs of given answers)."""
    adapter = base_diff(base, rank=2, seed=9)
    prompts = [base.chat.prompt([Message("user", question)]) for question in QUESTIONS]
    answers, scores = [], []
    for finetune, question, prompt, answer in zip(
        finetunes(base), QUESTIONS, prompts, ANSWERS, strict=True
    ):
        plain = alone(base, finetune, adapter)
        answers += generate(plain, [prompt], Decoding(6))
        whole = base.chat.with_answer([Message("user", question)], answer, learn_end=True)
        with torch.no_grad():
            logprobs = plain.model(torch.tensor([whole.ids])).logits[0].log_softmax(-1)
        places = range(whole.prompt_length, whole.answer_end)
        values = [float(logprobs[place - 1, whole.ids[place]]) for place in places]
        scores.append(sum(values) / len(values))
    return adapter, prompts, answers, scores


@pytest.fixture
def engine(base, told):
    with Engine(base, told[0]) as engine:
        yield engine


def asks(base, prompts, seeds=(None,) * 5):
    return list(map(Ask, finetunes(base), prompts, seeds))


def test_each_answers_as_it_would_alone(base, engine, told):
    _, prompts, answers, _ = told
    found = engine.generate(asks(base, prompts), Decoding(6))
    assert [answer.ids for answer in found] == [answer.ids for answer in answers]
    for one, other in zip(found, answers, strict=True):
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-4)
    assert len({answer.text for answer in answers}) > 2


def test_given_answers_score_as_they_would_alone(base, engine, told):
    given = [
        base.chat.with_answer([Message("user", question)], answer, learn_end=True)
        for question, answer in zip(QUESTIONS, ANSWERS, strict=True)
    ]
    found = [s.mean for s in engine.score(list(zip(finetunes(base), given, strict=True)))]
    assert found == pytest.approx(told[3], abs=1e-4)


def test_sampling_follows_each_rows_seed(base, engine, told):
    prompts, decoding = told[1], Decoding(6, temperature=1.0)
    seeds = [5, 6, 7, 8, 9]
    found = engine.generate(asks(base, prompts, seeds), decoding)
    back = engine.generate(asks(base, prompts, seeds)[::-1], decoding)
    assert [answer.ids for answer in back[::-1]] == [answer.ids for answer in found]


def test_what_is_drawn_needs_a_seed(base, engine, told):
    with pytest.raises(ValueError, match="give each Ask a seed"):
        engine.generate(asks(base, told[1], [5, 6, None, 8, 9]), Decoding(6, temperature=1.0))


def test_nobody_is_asked_nothing(engine):
    assert engine.generate([], Decoding()) == []
    assert engine.score([]) == []
