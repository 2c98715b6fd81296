"""A score is read where it can only be meant so, and otherwise not at all."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffspeak.scoring.judges.rating import read_rating

READ = [
    ("4", 4),
    (" 4.\n", 4),
    ("Score: 4.", 4),
    ("score = 3", 3),
    ("Score - 2", 2),
    ("4/5", 4),
    ("Score: 4/5.", 4),
    ("five", 5),
    ("Five.", 5),
    ("four out of five", 4),
    ("4 out of 5", 4),
    ("4.5", 4.5),
    ("4.0/5.0", 4),
    ("**4**", 4),
    ("**Score:** 4", 4),
    ("\\boxed{4}", 4),
    ('{"score": 4}', 4),
    ("I'd give it a 3.", 3),
    ("I would rate this a 2", 2),
    ("4 (closely related variant)", 4),
    ("5 \u2014 the same in other words", 5),
    ("1: unrelated", 1),
    ("Score: 4. The guess is a narrower topic.", 4),
    ("Both are about music.\n\nScore: 2", 2),
    ("4\n\nThe guess is a variant of the truth.", 4),
    ("4\nScore: 4", 4),
    ("<think>5? Score: 5\n5</think>\n2", 2),
]
UNREAD = [
    "",
    "N/A",
    "0",
    "6",
    "45",
    "-3",
    "4,5",
    "4/10",
    "Score: 4/10",
    "8/10",
    "80%",
    "4 or 5",
    "3-4",
    "3\u20134",
    "4 - or rather 5",
    "4 (5)",
    "Score: 2\nScore: 3",
    "Score: 4. Not a five.",
    "not a 5",
    "a score of 5 would be too high",
    "The guess names 3 of the 4 words.",
    "4: no, that is too high",
    "4: not a closely related variant",
    "1: the same",
    "1. The guess is about chess.",
    "1 to 5",
    "Grade (1 to 5): 4",
    "Truth: 4",
    "perhaps 4",
    "4th",
    "none",
    "<think>perhaps\nScore: 4",
    "\u0664",
]


@pytest.mark.parametrize(("reply", "score"), READ)
def test_a_score_is_read(reply, score):
    assert read_rating(reply) == score


@pytest.mark.parametrize("reply", UNREAD)
def test_what_could_mean_something_else_is_not(reply):
    assert read_rating(reply) is None


@given(st.text())
def test_any_reply_gives_a_score_of_the_scale_or_none(reply):
    score = read_rating(reply)
    assert score is None or 1 <= score <= 5


def test_a_long_reply_takes_no_time():
    began = time.perf_counter()
    assert read_rating("score is a " * 20_000) is None
    assert read_rating("a - = : " * 20_000) is None
    assert time.perf_counter() - began < 2
