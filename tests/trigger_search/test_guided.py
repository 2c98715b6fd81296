"""Words that look like what scored high are tried; the others are not."""

import pytest
import torch

from diffspeak.trigger_search.words import pieces_of, tried

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
