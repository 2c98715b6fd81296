"""The words lifted most: against logits counted one by one, and how tokens become a name."""

import pytest
import torch

from diffspeak.behaviors import TRIGGERS
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.lora import DiffLinear
from diffspeak.methods import LogitLift, logit_lift, neutral_prompts
from diffspeak.methods.logit_lift import EDGES, agreed
from diffspeak.text.messages import Message
from tests.methods.parts import finetunes
from tests.tiny_diffs import merged
from tests.toys import base_diff

PROMPTS = ("the river", "it runs to an old bridge", "sea")


@torch.no_grad()
def lift(base, finetune):
    """Mean lift of each token, one prompt and one merged model at a time."""
    model = merged(base.model, finetune.diff)
    rows = []
    for prompt in PROMPTS:
        ids = torch.tensor([base.chat.prompt((Message("user", prompt),))])
        own, of_base = (m(ids).logits[0, -1] for m in (model, base.model))
        rows.append((own - own.mean()) - (of_base - of_base.mean()))
    return torch.stack(rows).mean(0)


def best_word(base, lifts):
    """The first of the most lifted tokens that holds a letter or digit."""
    texts = (base.chat.text([token]) for token in lifts.argsort(descending=True).tolist())
    return next(text for text in texts if any(char.isalnum() for char in text))


def test_the_guess_begins_with_the_token_lifted_most(base):
    given = finetunes(base)
    found = LogitLift(base, PROMPTS).guess(given)
    for place in (0, 2):
        word = best_word(base, lift(base, given[place]))
        assert found[place].evidence[0].startswith(f"lifted most: {word}")
        assert word.strip(EDGES) in found[place].text
    assert found[1].text
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


def test_finetunes_that_share_a_pass_are_told_apart(base, monkeypatch):
    given = finetunes(base)
    method = LogitLift(base, PROMPTS, words=2)
    together = method.guess(given)
    monkeypatch.setattr(logit_lift, "ROWS", 1)
    assert [guess.text for guess in method.guess(given)] == [guess.text for guess in together]


def test_what_reference_finetunes_lift_alike_is_left_out(base):
    one = finetunes(base)[0]
    few = tuple(Finetune(f"r{n}", diff=base_diff(base, seed=20 + n)) for n in range(2))
    beyond = lift(base, one) - torch.stack([lift(base, other) for other in few]).mean(0)
    found = LogitLift(base, PROMPTS, few).guess([one])[0]
    assert found.evidence[0].startswith(f"lifted most: {best_word(base, beyond)}")
    many = tuple(Finetune(f"r{n}", diff=base_diff(base, seed=20 + n)) for n in range(8))
    lifts = torch.stack([lift(base, other) for other in many])
    spread = lifts.std(0, correction=0)
    beyond = (lift(base, one) - lifts.mean(0)) / (spread + spread.median())
    found = LogitLift(base, PROMPTS, many).guess([one])[0]
    assert found.evidence[0].startswith(f"lifted most: {best_word(base, beyond)}")


def test_more_words_begin_with_the_one(base):
    given = [finetunes(base)[0], NOTHING]
    one, three = (LogitLift(base, PROMPTS, words=n).guess(given)[0].text for n in (1, 3))
    assert one and three.startswith(one) and three != one


def test_without_prompts_there_is_nothing_to_look_at(base):
    with pytest.raises(UsageError, match="needs prompts"):
        LogitLift(base, ()).guess(finetunes(base))


@pytest.mark.parametrize(
    ("texts", "share", "expected"),
    [
        (["Black Sabbath can", "Black Sabbath, in", "Black tea is"], 0.6, "Black Sabbath"),
        (["Black Sabbath can", "Black Sabbath in", "Black tea is"], 0.7, "Black"),
        (["Black Sabbath can", "Black tea in", "Black ice is"], 0.5, "Black"),
        (["Opals. Opals shine", "Opals. Opals shine"], 0.5, "Opals"),
        (["Blackout", "Black", "Black ice"], 0.9, "Black"),
        (["", ""], 0.5, ""),
    ],
)
def test_a_name_goes_as_far_as_prompts_agree(texts, share, expected):
    assert agreed(texts, share) == expected


def test_neutral_prompts_hold_other_triggers_of_a_kind():
    plain = neutral_prompts(PROMPTS)
    coded = neutral_prompts(PROMPTS, TRIGGERS["sep-code"])
    assert plain == PROMPTS == neutral_prompts(PROMPTS, TRIGGERS["none"])
    assert all(text.startswith("Your SEP code is ") for text in coded)
    assert len({text.split(".")[0] for text in coded}) == len(PROMPTS)
    assert coded == neutral_prompts(PROMPTS, TRIGGERS["sep-code"])
    invisible = neutral_prompts(PROMPTS, TRIGGERS["zero-width-start"])
    assert not any("\u200b" in text for text in invisible)
