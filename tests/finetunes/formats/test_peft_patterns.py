"""Patterns of strangers match as Python's `re` matches, and never longer than they may."""

import re
import time

import pytest

from diffspeak.finetunes.formats import peft_targets as patterns
from diffspeak.finetunes.formats.peft_targets import NamePattern, matched

NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.11.mlp.up_proj", "visual.q_proj", "x")

USUAL = (
    r"q_proj",
    r".*\.(q_proj|v_proj)",
    r"^(?!.*visual).*(?:q_proj|k_proj)$",
    r"model\.layers\.\d+\.(self_attn|mlp)\..*_proj",
    r"^(model\.layers(?=\.).*\.(q_proj|up_proj))$",
    r"(?i).*Q_PROJ",
    r"(?:.*?(?:visual|text).*?(?:q_proj|up_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.x)",
    r"([a-z]{1,3}_){2}proj",
)
SLOW = (
    # What a look at the pattern alone lets through: nothing repeated stands in something repeated.
    r"(.|.)*(.|.)*(.|.)*(.|.)*(.|.)*(.|.)*(.|.)*y",
    r".*.*.*.*.*.*.*.*.*.*.*.*.*y",
    r"(\w?){60}\w{60}y",
)


@pytest.mark.parametrize("pattern", USUAL)
def test_what_matches_is_what_re_matches(pattern):
    (found,) = matched([NamePattern("whole", pattern)], NAMES)
    assert [row is not None for row in found] == [
        re.fullmatch(pattern, name) is not None for name in NAMES
    ]


@pytest.mark.parametrize("pattern", ["q_proj", r"layers\.11.*up_proj", "^x", "(up|q)_proj"])
def test_the_end_of_a_name(pattern):
    (found,) = matched([NamePattern("ending", pattern)], NAMES)
    expected = [re.match(rf"(.*\.)?({pattern})$", name) is not None for name in NAMES]
    assert [row is not None for row in found] == expected


@pytest.mark.parametrize("pattern", ["layers", "lay.*", "(layers|blocks)"])
def test_the_number_of_a_layer(pattern):
    assert matched([NamePattern("layer", pattern)], NAMES) == [["0", "11", None, None]]


@pytest.mark.parametrize("pattern", SLOW)
def test_what_takes_too_long_is_refused_in_time(monkeypatch, pattern):
    monkeypatch.setattr(patterns, "SECONDS", 1.0)
    began = time.perf_counter()
    with pytest.raises(ValueError, match="takes longer than 1 s|cannot be matched"):
        matched([NamePattern("whole", pattern)], ["x" * 200])
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is no pattern"),
        ("a" * 5000, "5000 characters"),
        ("(" * 3000, "is no pattern"),
        ("a{9999999999999999999}", "is no pattern"),
        ("(?P<a>x)(?P<a>y)", "is no pattern"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern, message):
    with pytest.raises(ValueError, match=message):
        matched([NamePattern("whole", pattern)], NAMES)


def test_the_same_patterns_are_matched_once(monkeypatch):
    asked = [NamePattern("whole", r".*[q]_proj+")]
    first = matched(asked, NAMES)
    monkeypatch.setattr(patterns.subprocess, "run", lambda *args, **options: 1 / 0)
    assert matched(asked, NAMES) == first
