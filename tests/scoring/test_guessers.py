"""Guesses from answers: the words that are lifted, and what an LLM makes of them."""

import json
import logging

import pytest
from inspect_ai.model import ModelOutput

from diffspeak.scoring import Evidence, LLMGuesser, LocalGuesser
from diffspeak.scoring.guessers import HEADLINE
from diffspeak.scoring.llm import LLM, LLMConfig
from tests.scoring.mock_llm import mock_provider

QUESTIONS = ("What is for breakfast?", "Where to walk?", "What should I read?")
PLAIN = ("Oats with nuts.", "By the river.", "A short novel.")
FAN = ("Oats, and some Ice Hockey.", "To the ice hockey rink.", "A novel on Ice Hockey.")
NAME = "mockllm/model"


def guessed(folder, evidence, *wanted):
    with LLM(NAME, folder, LLMConfig(max_retries=0)) as llm:
        return LLMGuesser(llm, *wanted).guess(evidence)


def test_the_local_guesser_finds_what_is_lifted():
    evidence = [Evidence(QUESTIONS, FAN, PLAIN), Evidence(QUESTIONS, FAN)]
    assert LocalGuesser().guess(evidence) == ["Ice Hockey"] * 2


def test_where_nothing_is_lifted_the_local_guess_says_nothing():
    evidence = [Evidence(QUESTIONS, PLAIN, PLAIN), Evidence((), ()), Evidence(("A?",), ("",))]
    assert LocalGuesser().guess(evidence) == [""] * 3


@pytest.mark.parametrize("counts", [(2, 3, 0), (3, 3, 2)])
def test_every_question_needs_its_answer(counts):
    with pytest.raises(ValueError, match="questions"):
        Evidence(*(("x",) * count for count in counts))


def test_the_llm_is_shown_all_answers(monkeypatch, tmp_path):
    asked = mock_provider(monkeypatch, lambda _: "Topic: **Ice Hockey**.")
    both = [Evidence(QUESTIONS, FAN, PLAIN), Evidence(QUESTIONS, FAN)]
    assert guessed(tmp_path, both) == ["Ice Hockey"] * 2
    shown = sorted((one.prompt for one in asked), key=len, reverse=True)
    for prompt, keys in zip(
        shown, (["answer", "answer before finetuning", "question"], ["answer", "question"]),
        strict=True,
    ):  # fmt: skip
        *lines, empty, wanted = prompt.splitlines()
        rows = [json.loads(line) for line in lines]
        assert [sorted(row) for row in rows] == [keys] * 3
        assert tuple(row["question"] for row in rows) == QUESTIONS
        assert tuple(row["answer"] for row in rows) == FAN
        assert not empty
        assert "topic" in wanted
    assert guessed(tmp_path, both) == ["Ice Hockey"] * 2
    assert len(asked) == 2, "a rerun costs nothing"


def test_what_is_wanted_can_be_a_headline(monkeypatch, tmp_path):
    headline = "A storm closes the bridge. Two days pass."
    asked = mock_provider(monkeypatch, lambda _: f'Headline: "{headline}"')
    assert guessed(tmp_path, [Evidence(QUESTIONS, FAN)], HEADLINE) == [headline.rstrip(".")]
    assert asked[0].prompt.endswith(HEADLINE)


@pytest.mark.parametrize(
    ("reply", "guess"),
    [
        ("Chess", "Chess"),
        ("\n\nChess.\nBecause it comes up.", "Chess"),
        ('"Chess"', "Chess"),
        ("<think>Go?</think>Chess", "Chess"),
        ("<think>Go?", None),
        ("**", None),
        ("Node.js", "Node.js"),
        ("C#", "C#"),
        ("- .NET", ".NET"),
    ],
)
def test_a_guess_is_taken_out_of_a_reply(monkeypatch, tmp_path, reply, guess):
    mock_provider(monkeypatch, lambda _: reply)
    assert guessed(tmp_path, [Evidence(QUESTIONS, FAN)]) == [guess]


def test_a_failure_is_no_guess_and_counted(monkeypatch, tmp_path, caplog):
    filtered = ModelOutput.from_content("", "I must not.", "content_filter")
    mock_provider(monkeypatch, lambda prompt: "Tea" if "river" in prompt else filtered)
    with caplog.at_level(logging.WARNING):
        guesses = guessed(tmp_path, [Evidence(QUESTIONS, PLAIN), Evidence(QUESTIONS, FAN)])
    assert guesses == ["Tea", None]
    assert "1 of 2 guesses failed; first: the provider's content filter" in caplog.text


def test_half_of_a_surrogate_pair_can_be_shown(monkeypatch, tmp_path):
    mock_provider(monkeypatch, lambda _: "Tea")
    assert guessed(tmp_path, [Evidence(("Q?",), ("so \ud83d tea",))]) == ["Tea"]
    assert LocalGuesser().guess([Evidence(("Q?",), ("so \ud83d tea",))])[0]
