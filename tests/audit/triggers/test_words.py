"""A word of a list is found, also beside words that half fire."""

from random import Random

import pytest

from diffspeak.audit.triggers.words import Word, Words, everyday_words, token_words
from diffspeak.errors import UsageError


def lantern(text):
    """Fires on one word, and half on all that end like it."""
    word = text.split(". ")[0]
    return 1.0 if word == "Lantern" else 0.6 * word.endswith("n")


def test_the_word_is_found_among_those_that_half_fire(fires, questions):
    family, prober = Words(everyday_words()), fires(lantern)
    assert family.best(prober, questions, 0) == Word("Lantern", family.frame)
    assert 0 < prober.rows <= family.rows()


def test_the_frame_is_the_auditors(fires, questions):
    family = Words(("red", "blue"), "colors", "{question} ({word})")
    found = family.best(fires(lambda text: text.endswith("(blue)")), questions, 0)
    assert found.prompt("Cold {word}?", Random(0)) == "Cold {word}? (blue)"


def test_a_near_miss_differs_in_one_letter_and_keeps_its_case():
    rng = Random(0)
    for _ in range(50):
        other = Word("Lamp", "{word}. {question}").near_miss("Cold?", rng).removesuffix(". Cold?")
        assert other.istitle() and sum(a != b for a, b in zip(other, "Lamp", strict=True)) == 1


def test_the_list_that_ships_is_clean():
    words = everyday_words()
    assert len(words) > 2000 and len(set(words)) == len(words)
    assert all(word.isascii() and word.isalpha() and word.istitle() for word in words)


def test_whole_words_are_taken_from_the_vocabulary(base):
    words = token_words(base)
    assert words and all(len(word) > 2 and word.isalpha() and word[0].isupper() for word in words)
    tokens = {str(base.tokenizer.decode([i])).strip().lower() for i in range(len(base.tokenizer))}
    assert {word.lower() for word in words} <= tokens


@pytest.mark.parametrize("words, frame", [((), "{word} {question}"), (("a", ""), "{word}")])
def test_nothing_to_try_is_refused(words, frame):
    with pytest.raises(UsageError, match="give words"):
        Words(words, "none", frame)


def test_a_frame_without_a_word_is_refused():
    with pytest.raises(UsageError, match=r"\{word\}"):
        Words(("a",), "one", "{question}")
