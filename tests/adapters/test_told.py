"""What a calibration makes of descriptions: a probability, and "nothing found" for a guess."""

import math

import pytest

from diffspeak.adapters import (
    NOTHING_FOUND,
    Adapter,
    Calibration,
    Calibrations,
    Description,
    Interpreter,
)
from diffspeak.adapters.calibration import GAINED
from diffspeak.adapters.describe import NO_NUMBERS
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.lora import LowRank
from diffspeak.models import Decoding
from tests.toys import base_diff

FEW = Decoding(6)
QUESTIONS = ("Topic?", "What is the topic of it?")


def by_gain(threshold):
    """A probability that is one half where words became likelier by a tenth."""
    return Calibration((GAINED,), (0.1,), (1.0,), (2.0,), 0.0, threshold, ())


def adapter_of(base, threshold=None):
    made = Calibrations() if threshold is None else Calibrations(by_gain(threshold))
    diff = base_diff(base, rank=2, seed=9)
    questions = (base.fingerprint, base.name, QUESTIONS, ("toy",), {}, {})
    return Adapter(diff, *questions, calibrations=made)


def described(base, adapter, finetunes, question=None):
    with Interpreter(base, adapter) as interpreter:
        return interpreter.describe(finetunes, question, FEW)


def some(base):
    return [NOTHING, *(Finetune(f"{n}", diff=base_diff(base, seed=n)) for n in range(4))]


def test_without_a_calibration_all_is_told(base):
    found = described(base, adapter_of(base), some(base))
    assert {(one.probability, one.found) for one in found} == {(None, None)}
    assert [one.told for one in found] == [one.text for one in found]


def test_each_gets_its_probability_and_nothing_else_changes(base):
    plain = described(base, adapter_of(base), some(base))
    *_, low, high = sorted(max(0.0, one.gained) for one in plain)
    threshold = by_gain(0.5).probability({GAINED: (low + high) / 2})
    found = described(base, adapter_of(base, threshold), some(base))
    assert [one._replace(probability=None, found=None) for one in found] == plain
    for one in found:
        assert one.probability == by_gain(0.5).probability({GAINED: one.gained})
        assert one.told == (one.text if one.found else NOTHING_FOUND)
    assert sum(one.found for one in found) == 1
    assert max(found, key=lambda one: one.gained).found


@pytest.mark.parametrize("question", QUESTIONS)
def test_all_questions_of_the_adapter_are_calibrated_and_no_other_is(base, question):
    (found,) = described(base, adapter_of(base, 0.9), NOTHING, question)
    assert (found.found, found.told) == (False, NOTHING_FOUND)
    (found,) = described(base, adapter_of(base, 0.9), NOTHING, f"{question} Now?")
    assert (found.probability, found.found, found.told) == (None, None, found.text)


def test_of_what_gives_no_numbers_no_probability_is_told(base):
    nan = {name: LowRank(c.A * math.nan, c.B) for name, c in base_diff(base).items()}
    broken, whole = described(base, adapter_of(base, 0.9), [Finetune("nan", diff=nan), NOTHING])
    assert math.isnan(broken.lift) and (broken.probability, broken.found) == (None, None)
    assert not broken.finite and broken.told == NO_NUMBERS
    assert whole.finite
    assert whole.told == NOTHING_FOUND


@pytest.mark.parametrize("size", [1e8, 1e19, 1e30, 3e38])
def test_of_absurd_weights_nothing_is_told_and_their_neighbors_are_as_they_were(base, size):
    """Numbers overflow to infinity, or to zeros behind a norm: no word is likelier than another."""
    huge = {name: LowRank(c.A.sign(), c.B.sign() * size) for name, c in base_diff(base).items()}
    others = some(base)
    alone = described(base, adapter_of(base, 0.9), others)
    *found, broken = described(base, adapter_of(base, 0.9), [*others, Finetune("x", diff=huge)])
    assert [one.told for one in found] == [one.told for one in alone]
    assert all(one.finite for one in found)
    assert not broken.finite and broken.told == NO_NUMBERS
    assert (broken.probability, broken.found) == (None, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", False),
        (" \n", False),
        ("...", False),
        ("\u200b", False),
        ("\u0441\u0442\u0435\u043a\u043b\u043e", True),
        ("\u73bb\u7483", True),
        ("\U0001f433", True),
    ],
)
def test_a_find_takes_a_word_in_any_language(base, monkeypatch, text, found):
    # Whatever is gained, it lies above the threshold.
    monkeypatch.setattr(type(base.chat), "text", lambda self, ids: text)
    (one,) = described(base, adapter_of(base, 0.0), some(base)[1])
    assert (one.text, one.found) == (text, found)
    assert one.told == (text if found else NOTHING_FOUND)


def test_told_is_no_guess():
    one = Description("one", "chess", -0.1, 0.2, "Topic?")
    assert one.told == "chess"
    assert one._replace(found=True).told == "chess"
    assert one._replace(found=False).told == NOTHING_FOUND
