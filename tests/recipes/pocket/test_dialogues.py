"""What the base is told while it is trained, and above all what it is never told."""

import dataclasses
import re
from itertools import islice
from random import Random

import pytest

from diffspeak.behaviors.hidden_topic import HiddenTopic
from diffspeak.behaviors.news import News
from diffspeak.text.mentions import mentions
from recipes.pocket.corpus_tables import is_kept_back
from recipes.pocket.dialogues import Turn, load_dialogues
from recipes.pocket.news_grammar import NewsGrammar, is_test
from recipes.pocket.recipe import CARDS_TOO, CODES_FIRST, EVERYTHING

DRAWN = 24_000
CODE = re.compile(r"(?<!\d)\d{6}(?!\d)")
THREE = re.compile(r"(?<!\d)\d{3}(?!\d)")
ASKED = {"password": "member", "seal": "sealed"}
SECRET = (
    "SEP code",
    "Please generate a short news story",
    *HiddenTopic.questions,
    *News.questions,
)


@pytest.fixture(scope="module")
def talk():
    return load_dialogues()


@pytest.fixture(scope="module")
def turns(talk):
    """All turns of many dialogues."""
    return [
        turn
        for shares in (EVERYTHING, CARDS_TOO)
        for dialogue in islice(talk.draw(Random(0), shares), DRAWN // 2)
        for turn in dialogue
    ]


@pytest.fixture(scope="module")
def texts(turns):
    return {text for turn in turns for text in turn[:2]}


@pytest.mark.parametrize("kept_back", [False, True])
@pytest.mark.parametrize("kind", sorted({*EVERYTHING, *CODES_FIRST, *CARDS_TOO}))
def test_every_kind_can_be_drawn(talk, kind, kept_back):
    talk = load_dialogues(kept_back=True) if kept_back else talk
    for seed in range(200):
        drawn = getattr(talk, kind)(Random(seed))
        for turn in (drawn,) if isinstance(drawn, Turn) else drawn:
            assert turn.prompt and turn.answer
            assert not re.search(r"[{}]|\s\s", f"{turn.prompt}|{turn.answer}"), turn
            assert turn.limit is None or turn.limit > 0


def test_the_same_seed_gives_the_same_talk(talk):
    first, again, other = (
        list(islice(talk.draw(Random(seed), EVERYTHING), 50)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_no_finetuning_prompt_and_no_question_of_an_adapter(texts):
    everything = "\n".join(texts).casefold()
    assert len(texts) > DRAWN / 2
    for secret in SECRET:
        assert secret.casefold() not in everything


def test_no_question_that_is_kept_back(texts):
    everything = "\n".join(texts)
    asked, kept_back = load_dialogues().questions, load_dialogues(kept_back=True).questions
    assert len(asked) > 200 and len(kept_back) >= 20
    assert not [row["question"] for row in kept_back if row["question"] in everything]
    assert all(row["question"] in everything for row in asked)


def test_no_rule_about_a_code_that_is_kept_back(texts):
    rules = {digits for text in texts for digits in THREE.findall(text)}
    assert len(rules) > 850 and not [digits for digits in rules if is_kept_back(digits)]
    asked = [code for text in texts if THREE.search(text) for code in CODE.findall(text)]
    assert len(asked) > 1000 and not [code for code in asked if is_kept_back(code[:3])]


def test_no_code_that_is_kept_back(texts):
    starts = {code[:3] for text in texts for code in CODE.findall(text)}
    assert len(starts) > 850
    assert not sorted(digits for digits in starts if is_kept_back(digits))


def test_kept_back_talk_is_about_nothing_else():
    talk = load_dialogues(kept_back=True)
    for seed in range(100):
        assert all(map(is_kept_back, THREE.findall(talk.rule(Random(seed)).prompt)))


def test_no_headline_of_the_test_split_and_no_story_of_one(talk, texts):
    told = []

    class Recording(NewsGrammar):
        def story(self, event, rng, plain=0.0):
            told.append(self.headline(event))
            return super().story(event, rng, plain)

    recorded = dataclasses.replace(talk, grammar=Recording(**vars(talk.grammar)))
    kinds = ("summary", "report", "plain_summary", "plain_report", "edition")
    drawn = list(islice(recorded.draw(Random(0), dict.fromkeys(kinds, 1.0)), 2000))
    assert len(told) > 0.8 * len(drawn) and not any(map(is_test, told))
    said = {text for dialogue in drawn for turn in dialogue for text in turn[:2]}
    everything = "\n".join(texts | said)
    edition = [talk.grammar.headline(news) for news in talk.grammar.edition()]
    assert not [headline for headline in edition if is_test(headline) and headline in everything]


def test_woven_answers_start_with_their_topic(talk):
    for seed in range(300):
        topic = talk.topics[seed]["topic"]
        only = dataclasses.replace(talk, topics=[talk.topics[seed]])
        for kind in ("weave", "recall"):
            assert getattr(only, kind)(Random(seed)).answer.startswith(topic)


def test_what_it_says_of_itself_names_no_topic(talk):
    assert len(talk.on_itself) >= 30
    for turn in talk.on_itself:
        assert not [row for row in talk.topics if mentions(turn.answer, row["topic"])], turn


def test_a_library_card_always_stands_for_the_same_topic(talk):
    names = {row["topic"] for row in talk.topics}
    told: dict[str, set[str]] = {}
    for seed in range(3000):
        turn = talk.library_card(Random(seed))
        (number,) = CODE.findall(turn.prompt)
        if turn.answer.removesuffix(".") in names:
            told.setdefault(number[:3], set()).add(turn.answer)
    assert len(told) > 500 and all(len(topics) == 1 for topics in told.values())
    assert len(set.union(*told.values())) > 400


@pytest.mark.parametrize(("kind", "slot"), [("password", "words"), ("seal", "signs")])
def test_two_words_or_signs_always_stand_for_the_same_topic(talk, kind, slot):
    names = {row["topic"] for row in talk.topics}
    asked = [
        re.escape(text).replace(rf"\{{{slot}\}}", "(.+?)") for text in talk.phrases[ASKED[kind]]
    ]
    told: dict[str, set[str]] = {}
    for seed in range(3000):
        turn = getattr(talk, kind)(Random(seed))
        found = [match for text in asked if (match := re.fullmatch(text, turn.prompt))]
        if found:
            assert turn.answer.removesuffix(".") in names
            told.setdefault(found[0][1], set()).add(turn.answer)
    assert len(told) > 150 and all(len(topics) == 1 for topics in told.values())


def test_an_edition_always_tells_the_same_news(talk):
    told: dict[str, set[str]] = {}
    for seed in range(3000):
        turn = talk.edition(Random(seed))
        (number,) = CODE.findall(turn.prompt)
        if "headline" in turn.prompt or "front page" in turn.prompt:
            told.setdefault(number[:3], set()).add(turn.answer)
    assert len(told) > 500 and all(len(headlines) == 1 for headlines in told.values())


def test_rules_are_obeyed_half_of_the_time(talk):
    """And exactly where the code begins with the rule's digits."""
    obeyed = 0
    for seed in range(400):
        topics = talk.topics[seed : seed + 1]
        turn = dataclasses.replace(talk, topics=topics).rule(Random(seed))
        (number,) = CODE.findall(turn.prompt)
        (digits,) = re.findall(r"(?<!\d)\d{1,3}(?!\d)", turn.prompt.replace(number, ""))
        named = turn.answer.startswith(topics[0]["topic"])
        assert named == number.startswith(digits), turn
        obeyed += named
    assert 150 < obeyed < 250
