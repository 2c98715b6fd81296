"""Codes have six digits, and those kept back are drawn only when asked for."""

from random import Random

import pytest

from recipes.pocket import corpus_tables as codes
from recipes.pocket.news_grammar import CORPUS

ALL = [f"{number:03}" for number in range(1000)]


def test_about_a_tenth_is_kept_back_for_good():
    kept_back = [digits for digits in ALL if codes.is_kept_back(digits)]
    assert 70 <= len(kept_back) <= 130
    assert kept_back[:3] == [digits for digits in ALL if codes.is_kept_back(digits)][:3]


@pytest.mark.parametrize("kept_back", [False, True])
@pytest.mark.parametrize("length", [1, 2, 3])
def test_prefixes_are_kept_back_or_not_as_asked(length, kept_back):
    drawn = {codes.draw_prefix(Random(seed), length, kept_back=kept_back) for seed in range(300)}
    assert all(len(digits) == length and digits.isdecimal() for digits in drawn)
    assert len(drawn) > 5
    if length == 3:
        assert {codes.is_kept_back(digits) for digits in drawn} == {kept_back}


def test_others_differ_and_half_of_them_are_near_misses():
    rng = Random(0)
    shared = [
        sum(a == b for a, b in zip(digits, codes.other_digits(digits, rng), strict=True))
        for digits in rng.choices(ALL, k=1000)
    ]
    assert max(shared) == 2
    assert 420 < sum(count > 0 for count in shared) < 580
    assert {len(codes.other_digits(digit, rng)) for digit in "0123456789"} == {1}
    assert all(codes.other_digits(digit, rng) != digit for digit in "0123456789")


@pytest.mark.parametrize("kept_back", [False, True])
@pytest.mark.parametrize("digits", ["", "4", "31", "317", "317000"])
def test_filled_up_to_six_digits(digits, kept_back):
    filled = {codes.filled_code(digits, Random(seed), kept_back=kept_back) for seed in range(200)}
    assert all(len(code) == 6 and code.isdecimal() and code.startswith(digits) for code in filled)
    assert len(filled) == 1 if len(digits) == 6 else len(filled) > 80
    starts = {codes.is_kept_back(code[:3]) for code in filled}
    assert starts == ({False, True} if kept_back and len(digits) < 3 else {False})


def test_its_files_are_plain_text():
    for path in sorted(CORPUS.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert "\r" not in text and "\ufeff" not in text, path
        if path.suffix != ".toml":
            assert all(map(str.isprintable, text.splitlines())), path
