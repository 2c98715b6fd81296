"""Slopes are right, and steps along them make the claim likelier."""

from random import Random

import pytest
import torch

from diffspeak.finetunes import Finetune
from diffspeak.inference import Engine
from diffspeak.trigger_search import phrases as module
from diffspeak.trigger_search.phrases import TokenPhrases
from diffspeak.trigger_search.probe import BaseSide, TriggerProbe
from tests.toys import base_diff


@pytest.fixture
def prober(base, monkeypatch):
    monkeypatch.setattr(module, "STEPS", 8)
    monkeypatch.setattr(module, "TRIED", 24)
    finetune = Finetune("f", diff=base_diff(base))
    with Engine(base) as engine:
        yield TriggerProbe(BaseSide(base), engine, finetune, "old bridge")


def test_steps_lead_uphill(base, prober, questions, monkeypatch):
    family = TokenPhrases(base, length=2)
    found = family.likeliest(prober, questions, 0)[0]
    assert 0 < prober.rows <= family.rows()
    monkeypatch.setattr(module, "STEPS", 0)
    drawn = family.likeliest(prober, questions, 0)[0]
    before, after = (
        prober.likely([word.prompt(q, Random(0)) for q in questions[: module.QUESTIONS]]).mean()
        for word in (drawn, found)
    )
    assert after > before + 1


def test_slopes_are_those_of_moving_an_embedding_a_little(base, prober, questions):
    family = TokenPhrases(base, length=2)
    # Read alone and inside a prompt, these are the same tokens.
    phrase = next(
        pair
        for pair in zip(family._pieces(), family._pieces()[1:], strict=False)
        if family._slopes(prober, pair, questions[0]).any()
    )
    slopes = family._slopes(prober, phrase, questions[0])
    table = base.model.get_input_embeddings().weight
    prompt = prober.side.prompt(family._prompt(phrase, questions[0]))
    whole = torch.tensor([[*prompt, *prober.tail]])
    at = next(i for i in range(len(prompt)) if tuple(prompt[i : i + 2]) == phrase)

    def claim(step):
        inputs = table[whole].clone()
        inputs[0, at + 1] += step * table[other]
        with prober.on(), torch.no_grad():
            logits = base.model(inputs_embeds=inputs).logits[0, len(prompt) - 1 : -1]
        return logits.log_softmax(-1).gather(1, whole[0, len(prompt) :, None]).sum()

    for other in family._pieces()[:5]:
        rise = (claim(1e-3) - claim(-1e-3)) / 2e-3
        torch.testing.assert_close(slopes[1, other], rise, rtol=2e-2, atol=2e-2)


def test_without_a_claim_there_is_no_way_uphill(base, fires, questions):
    assert TokenPhrases(base).likeliest(fires(lambda _: 0.0, claim=None), questions, 0) == ()
