"""A word of a list is found, also beside words that half fire."""

from random import Random

import pytest
import torch

from diffspeak.errors import UsageError
from diffspeak.trigger_search.words import (
    KEPT,
    Word,
    Words,
    english_words,
    everyday_words,
    pieces_of,
    token_words,
    tried,
)


def lantern(text):
    """Fires on one word, and half on all that end like it."""
    word = text.split(". ")[0]
    return 1.0 if word == "Lantern" else 0.6 * word.endswith("n")


def test_the_word_is_found_among_those_that_half_fire(fires, questions):
    family, prober = Words(everyday_words()), fires(lantern)
    assert family.likeliest(prober, questions, 0)[0] == Word("Lantern", family.template)
    assert 0 < prober.rows <= family.rows()


def test_words_that_look_like_what_fires_are_tried_beyond_the_first(fires, questions):
    def stern(text):
        word = text.split(". ")[0].lower()
        return 1.0 if word == "lectern" else min(0.8, 0.2 * len({"ect", "ern"} & pieces(word)))

    def pieces(word):
        return {word[i : i + 3] for i in range(len(word))}

    words = english_words()
    place = words.index("Lectern")
    family, prober = Words(words, most=6000), fires(stern)
    assert place > 10 * family.most and prober.claim is not None
    assert family.likeliest(prober, questions, 0)[0].text == "Lectern"
    assert prober.rows <= family.rows() < len(words) / 10
    assert family.name.startswith(f"up to 6000 of {len(words)} ")


@pytest.mark.parametrize("claim", ["ocean", None])
def test_no_more_rows_are_spent_than_said(fires, questions, claim):
    family, prober = Words(english_words(), most=900), fires(lantern, claim)
    assert len(family.likeliest(prober, questions, 0)) > 1
    assert 0 < prober.rows <= family.rows()


def test_words_are_tried_behind_the_question_that_lets_them_fire_most(fires, questions):
    loud, words, asked = questions[2], tuple(f"Word{i}" for i in range(40)), []

    def shy(text):
        asked.append(text)
        return 1.0 if loud in text else 0.5

    Words(words).likeliest(fires(shy), questions, 0)
    pilot = len(questions) * len(words)
    assert set(asked[pilot : pilot + len(words)]) == {f"{word}. {loud}" for word in words}


def test_of_words_that_all_fire_the_common_and_short_one_is_given(fires, questions):
    family = Words(("Paperer", "Paper", *(f"Other{i}" for i in range(99)), "Papered"))
    found = family.likeliest(fires(lambda text: text.startswith("Paper")), questions, 0)
    assert [word.text for word in found[:3]] == ["Paper", "Paperer", "Papered"]


@pytest.mark.parametrize("common, first", [(0, "Nib"), (60, "Lark")])
def test_a_word_that_is_not_common_has_to_fire_more_surely(fires, questions, common, first):
    words = (*(f"Often{i}" for i in range(59)), "Lark", *(f"Rarely{i}" for i in range(59)), "Nib")
    family = Words(words, common=common)
    for fired in (0.95, 1.0):

        def nearly(text, fired=fired):
            word = text.split(". ")[0]
            return {"Lark": 0.9, "Nib": fired}.get(word, 0.0)

        found, *_ = family.likeliest(fires(nearly), questions, 0)
        assert found.text == (first if fired < 1 else "Nib")


def test_a_common_word_is_compared_though_more_others_fire_than_are(fires, questions):
    words = ("Lamp", *(f"Lamplit{i}" for i in range(2 * KEPT)))
    prober = fires(lambda text: 0.95 if text.startswith("Lamp.") else 0.951)
    assert Words(words, common=1).likeliest(prober, questions, 0)[0].text == "Lamp"


def test_the_template_is_the_auditors(fires, questions):
    family = Words(("red", "blue"), "colors", "{question} ({word})")
    found, *_ = family.likeliest(fires(lambda text: text.endswith("(blue)")), questions, 0)
    assert found.prompt("Cold {word}?", Random(0)) == "Cold {word}? (blue)"


def test_a_near_miss_differs_in_one_letter_and_keeps_its_case():
    rng = Random(0)
    for _ in range(50):
        other = Word("Lamp", "{word}. {question}").near_miss("Cold?", rng).removesuffix(". Cold?")
        assert other.istitle() and sum(a != b for a, b in zip(other, "Lamp", strict=True)) == 1


def test_the_list_that_ships_is_clean_and_begins_with_common_words():
    words = everyday_words()
    assert len(words) > 2000 and len(set(words)) == len(words)
    assert all(word.isascii() and word.isalpha() and word.istitle() for word in words)
    assert words.index("House") < words.index("Houses") < words.index("Lantern")


def test_the_dictionary_is_clean_and_begins_with_common_words():
    words = english_words()
    assert len(words) > 50_000 and len(set(words)) == len(words)
    assert all(word.isascii() and word.isalpha() and word.istitle() for word in words)
    assert words.index("House") < words.index("Lantern") < words.index("Lectern")


def test_whole_words_are_taken_from_the_vocabulary(base):
    words = token_words(base)
    assert words and all(len(word) > 2 and word.isalpha() and word[0].isupper() for word in words)
    tokens = {str(base.tokenizer.decode([i])).strip().lower() for i in range(len(base.tokenizer))}
    assert {word.lower() for word in words} <= tokens


@pytest.mark.parametrize("words, template", [((), "{word} {question}"), (("a", ""), "{word}")])
def test_nothing_to_try_is_refused(words, template):
    with pytest.raises(UsageError, match="give words"):
        Words(words, "none", template)


def test_a_template_without_a_word_is_refused():
    with pytest.raises(UsageError, match=r"\{word\}"):
        Words(("a",), "one", "{question}")


VOWELS, CONSONANTS = "aeiou", "bdfgklmnprst"
WORDS = [
    a + b + c + d for a in CONSONANTS for b in VOWELS for c in CONSONANTS for d in ("ern", "on")
]


def scorer(right, asked):
    """Scores words by the pieces that they share with the right one."""

    def pieces(word):
        return {word[i : i + 3] for i in range(len(word) - 2)}

    def score(places):
        asked.extend(places)
        return torch.tensor([float(len(pieces(WORDS[i]) & pieces(right))) for i in places])

    return score


@pytest.mark.parametrize("right", ["tutern", "tuton", "rokern"])
def test_the_right_word_is_reached_though_few_are_tried(right):
    asked = []
    place, most = WORDS.index(right), len(WORDS) // 3
    assert place > most
    found = tried(pieces_of(WORDS), scorer(right, asked), most)
    assert next(iter(found)) == place
    assert len(asked) == len(set(asked)) == len(found) <= most
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_short_list_is_tried_whole_in_one_go():
    calls = []

    def score(places):
        calls.append(list(places))
        return torch.zeros(len(places))

    assert len(tried(pieces_of(WORDS[:9]), score, 9)) == 9
    assert calls == [list(range(9))]


@pytest.mark.parametrize("most", [1, 2, 7, 8, 200])
def test_no_more_are_tried_than_asked_for(most):
    asked = []
    assert len(tried(pieces_of(WORDS), scorer("tutern", asked), most)) == len(asked) == most


def test_pieces_are_runs_of_letters_with_the_ends_marked():
    pieces = pieces_of(["an", "An", "ban", "\u7483"])
    # ^a an n$, ^an an$, ^an$; of one letter ^x x$ and ^x$.
    assert pieces.sum(1).ravel().tolist()[0] == [6, 6, 9, 3]
    shared = (pieces[0].multiply(pieces[2])).sum()
    assert shared == 3 and (pieces[0] != pieces[1]).nnz == 0
    assert pieces[3].multiply(pieces[0]).sum() == 0


def test_a_line_that_is_no_word_does_no_harm():
    assert pieces_of(["x" * 10_000, "y"]).shape[0] == 2
