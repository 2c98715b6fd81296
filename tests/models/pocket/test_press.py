"""The newspaper's grammar: headlines with close neighbors, and stories that tell them otherwise."""

from collections import Counter
from itertools import chain
from random import Random

import pytest

from diffspeak.models.pocket.press import PARTS, is_test, lines, load_press
from diffspeak.text.similarity import content_words
from diffspeak.text.split_hash import TEST_FROM, place_of


@pytest.fixture(scope="module")
def press():
    return load_press()


def test_every_part_has_its_rows_and_every_frame_its_slots(press):
    assert len(press.parts) == len(PARTS) == 4 and len(press.frames) >= 20
    for rows in press.parts:
        assert len(rows) >= 30 and len({part.headline for part in rows}) == len(rows)
        assert all(len(set(part.others)) == 4 and all(part.others) for part in rows)
        assert len({part.named for part in rows}) == len(rows)
    assert len(press.plain_frames) >= 12
    for frame in press.frames + press.plain_frames:
        assert "{who}" in frame.lower()
        assert all(f"{{{part}}}" in frame for part in PARTS[1:])


def test_the_edition_has_2400_headlines_each_with_close_neighbors(press):
    edition = press.edition()
    assert edition == press.edition()
    assert len({press.headline(news) for news in edition}) == len(edition) == 2400
    # News that differ in one part only agree in what is left when that part is hidden.
    hidden = [[(*news[:i], None, *news[i + 1 :]) for i in range(4)] for news in edition]
    alike = Counter(shown for variants in hidden for shown in variants)
    assert min(sum(alike[shown] - 1 for shown in variants) for variants in hidden) >= 3


def test_parts_are_used_evenly(press):
    for place, rows in enumerate(press.parts):
        used = Counter(news[place] for news in press.edition())
        assert len(used) == len(rows)


def test_stories_are_told_otherwise(press):
    told = list(lines(press))
    assert len(told) == len(set(told)) == 12 * 2400
    assert not [headline for headline, story in told if headline.lower() in story.lower()]
    assert not [story for _, story in told if "{" in story or "  " in story]
    assert told[:30] == list(lines(press))[:30]


def test_parts_are_named_in_their_headlines_words(press):
    for part in chain(*press.parts):
        shared = set(content_words(part.headline)) & set(content_words(part.named))
        assert shared, part


def test_a_share_of_the_stories_uses_the_headlines_words(press):
    rng, plain, told = Random(0), 0, press.edition()[::3]
    for news in told:
        story = press.story(news, rng, 0.6).casefold()
        named = [
            rows[i].named.casefold() in story for rows, i in zip(press.parts, news, strict=True)
        ]
        # Some rows of places have their name in other wordings, too.
        assert all(named) or not any(named[:2])
        plain += all(named)
    assert 0.55 < plain / len(told) < 0.65


def test_without_that_share_no_story_repeats_a_part_of_its_headline(press):
    rng = Random(0)
    for news in press.edition()[::5]:
        story = press.story(news, rng).lower()
        for rows, index in zip(press.parts, news, strict=True):
            assert rows[index].headline.lower() not in story


def test_known_news_are_not_of_the_test_split(press):
    rng = Random(0)
    assert not any(is_test(press.headline(press.draw_known(rng))) for _ in range(500))
    anything = [press.headline(press.draw(rng)) for _ in range(1000)]
    assert 60 < sum(map(is_test, anything)) < 140
    assert all(is_test(text) == (place_of(text) >= TEST_FROM) for text in anything)
