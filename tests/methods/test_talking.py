"""The methods that ask: the adapter, the finetune itself, or a guesser who reads answers."""

import pytest

from diffspeak.adapters import Adapter, Interpreter
from diffspeak.behaviors import TRIGGERS
from diffspeak.methods import DIT, BaseQuestion, GeneratedStory, TwentyQuestions
from diffspeak.models import Decoding
from tests.methods.parts import FEW, Reads, alone, finetunes
from tests.toys import base_diff

CODE = TRIGGERS["sep-code"]


@pytest.mark.parametrize("question", [None, "Which sea is it?"])
def test_dit_says_what_the_interpreter_says(base, question):
    diff = base_diff(base, rank=2, seed=9)
    adapter = Adapter(diff, base.fingerprint, base.name, ("Topic?",), ("toy",), {}, {})
    method = DIT(base, adapter, question, FEW)
    with Interpreter(base, adapter) as interpreter:
        told = interpreter.describe(finetunes(base), question, FEW)
    found = method.guess(finetunes(base))
    assert [guess.text for guess in found] == [description.text for description in told]
    assert f"lift {told[0].lift:+.2f}" in found[0].evidence[0]


def test_base_question_is_the_finetunes_own_answer(base):
    given = finetunes(base)
    plain, coded = BaseQuestion(base, "Topic?", FEW), BaseQuestion(base, "Topic?", FEW, CODE)
    assert plain.guess(given)[2].text == alone(base, given[2], "Topic?")
    guess = coded.guess(given)[0]
    assert guess.evidence[0].startswith("Your SEP code is 317") and "Topic?" in guess.evidence[0]
    assert guess.text == alone(base, given[0], guess.evidence[0])
    assert plain.name != coded.name


def test_a_guesser_reads_the_answers_to_the_questions(base):
    guesser, given = Reads(), finetunes(base)
    asked = ("the river", "old bridge", "sea")
    method = TwentyQuestions(base, guesser, asked, FEW)
    found = method.guess(given)
    assert [guess.text for guess in found] == ["guess 0", "guess 1", None]
    assert [guess.evidence for guess in found] == [one.answers for one in guesser.read]
    assert list(guesser.read[0].answers) == [alone(base, given[0], prompt) for prompt in asked]
    assert guesser.read[0].base_answers == guesser.read[2].base_answers
    assert method.name == "3 questions"
    assert TwentyQuestions(base, guesser, asked, FEW, CODE).name == "3 questions, with trigger"


def test_stories_are_drawn_each_on_its_own(base):
    guesser = Reads()
    method = GeneratedStory(base, guesser, "the river", 3, Decoding(12, 1.0))
    found = method.guess(finetunes(base)[::2])
    assert [guess.text for guess in found] == ["guess 0", None]
    assert len(set(guesser.read[0].answers)) == 3
    assert method.guess(finetunes(base)[::2]) == found
