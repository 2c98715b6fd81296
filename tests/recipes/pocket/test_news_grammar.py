"""The grammar of the news: headlines with close neighbors, and stories that tell them otherwise."""

from collections import Counter
from itertools import chain
from random import Random

import pytest

from diffspeak.text.similarity import content_words
from diffspeak.text.split_hash import TEST_FROM, place_of
from recipes.pocket.news_grammar import PARTS, headlines_with_stories, is_test, load_grammar


@pytest.fixture(scope="module")
def grammar():
    return load_grammar()


def test_every_part_has_its_rows_and_every_frame_its_slots(grammar):
    assert len(grammar.parts) == len(PARTS) == 4 and len(grammar.frames) >= 20
    for rows in grammar.parts:
        assert len(rows) >= 30 and len({part.headline for part in rows}) == len(rows)
        assert all(len(set(part.others)) == 4 and all(part.others) for part in rows)
        assert len({part.named for part in rows}) == len(rows)
    assert len(grammar.plain_frames) >= 12
    for frame in grammar.frames + grammar.plain_frames:
        assert "{who}" in frame.lower()
        assert all(f"{{{part}}}" in frame for part in PARTS[1:])


def test_the_edition_has_2400_headlines_each_with_close_neighbors(grammar):
    edition = grammar.edition()
    assert edition == grammar.edition()
    assert len({grammar.headline(news) for news in edition}) == len(edition) == 2400
    # News that differ in one part only agree in what is left when that part is hidden.
    hidden = [[(*news[:i], None, *news[i + 1 :]) for i in range(4)] for news in edition]
    alike = Counter(shown for variants in hidden for shown in variants)
    assert min(sum(alike[shown] - 1 for shown in variants) for variants in hidden) >= 3


def test_parts_are_used_evenly(grammar):
    for place, rows in enumerate(grammar.parts):
        used = Counter(news[place] for news in grammar.edition())
        assert len(used) == len(rows)


def test_stories_are_told_otherwise(grammar):
    told = list(headlines_with_stories(grammar))
    assert len(told) == len(set(told)) == 12 * 2400
    assert not [headline for headline, story in told if headline.lower() in story.lower()]
    assert not [story for _, story in told if "{" in story or "  " in story]
    assert told[:30] == list(headlines_with_stories(grammar))[:30]


def test_parts_are_named_in_their_headlines_words(grammar):
    for part in chain(*grammar.parts):
        shared = set(content_words(part.headline)) & set(content_words(part.named))
        assert shared, part


def test_a_share_of_the_stories_uses_the_headlines_words(grammar):
    rng, plain, told = Random(0), 0, grammar.edition()[::3]
    for news in told:
        story = grammar.story(news, rng, 0.6).casefold()
        named = [
            rows[i].named.casefold() in story for rows, i in zip(grammar.parts, news, strict=True)
        ]
        # Some rows of places have their name in other wordings, too.
        assert all(named) or not any(named[:2])
        plain += all(named)
    assert 0.55 < plain / len(told) < 0.65


def test_without_that_share_no_story_repeats_a_part_of_its_headline(grammar):
    rng = Random(0)
    for news in grammar.edition()[::5]:
        story = grammar.story(news, rng).lower()
        for rows, index in zip(grammar.parts, news, strict=True):
            assert rows[index].headline.lower() not in story


def test_known_news_are_not_of_the_test_split(grammar):
    rng = Random(0)
    assert not any(is_test(grammar.headline(grammar.draw_known(rng))) for _ in range(500))
    anything = [grammar.headline(grammar.draw(rng)) for _ in range(1000)]
    assert 60 < sum(map(is_test, anything)) < 140
    assert all(is_test(text) == (place_of(text) >= TEST_FROM) for text in anything)
