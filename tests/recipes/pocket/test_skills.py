"""Skills are measured on what the base never saw, and score answers as they deserve."""

import dataclasses
import re
from types import SimpleNamespace

import pytest

from recipes.pocket import corpus_tables, skills
from recipes.pocket.dialogues import load_dialogues
from recipes.pocket.news_grammar import is_test
from recipes.pocket.skills import SKILLS, measure_skills
from tests.toys import toy_base

COUNT = 12
WEAVE, ABOUT, HEADLINE, MET, MISSED = SKILLS
CODE = re.compile(r"(?<!\d)\d{6}(?!\d)")
THREE = re.compile(r"(?<!\d)\d{3}(?!\d)")


@pytest.fixture(scope="module")
def base(tiny):
    return toy_base(tiny)


@pytest.fixture(scope="module")
def talk():
    """What is kept back, with few topics: looking for all of them takes long."""
    whole = load_dialogues(kept_back=True)
    return dataclasses.replace(whole, topics=whole.topics[::40])


@pytest.fixture
def measured(base, talk, monkeypatch):
    """Measure with an answerer in the model's place; gives the rates and the turns asked."""

    def measure(answers, seed=0, talk=talk, count=COUNT):
        asked, ask = [], skills._ask

        def noting(base, turns):
            asked.append(list(turns))
            return ask(base, turns)

        def generate(of, prompts, decoding):
            assert of is base and decoding.max_new_tokens >= 16 and decoding.temperature == 0
            assert [decoded(base, ids) for ids in prompts] == [turn.prompt for turn in asked[-1]]
            return [SimpleNamespace(text=answers(turn)) for turn in asked[-1]]

        with monkeypatch.context() as patch:
            patch.setattr(skills, "load_dialogues", lambda *, kept_back: kept_back and talk)
            patch.setattr(skills, "_ask", noting)
            patch.setattr(skills, "generate", generate)
            found = measure_skills(base, count, seed)
        assert {skill: len(right) for skill, right in found.items()} == dict.fromkeys(SKILLS, count)
        return {skill: sum(right) / count for skill, right in found.items()}, asked

    return measure


def decoded(base, ids):
    """The words of a prompt's only message."""
    text = base.tokenizer.decode(ids)
    return re.search(r"user\n(.*)<\|im_end\|>", text, re.DOTALL)[1]


def perfect(turn):
    return turn.answer


def silent(turn):
    return ""


def naming(talk):
    """Bring up every topic that the prompt names, whatever else it says."""
    topics = [row["topic"] for row in talk.topics]
    return lambda turn: " ".join(topic for topic in topics if topic in turn.prompt)


@pytest.fixture(scope="module")
def edition(talk):
    """News by its headline."""
    return {talk.grammar.headline(news): news for news in talk.grammar.edition()}


def by_skill(asked, edition, talk):
    """The turns of each skill, told apart by what they say."""
    topics = {row["topic"] for row in talk.topics}
    found = {skill: [] for skill in SKILLS}
    for turns in asked:
        for turn in turns:
            if THREE.search(turn.prompt):
                meets = CODE.search(turn.prompt)[0].startswith(THREE.search(turn.prompt)[0])
                found[MET if meets else MISSED].append(turn)
            elif turn.answer in edition:
                found[HEADLINE].append(turn)
            else:
                found[ABOUT if turn.answer.removesuffix(".") in topics else WEAVE].append(turn)
    return found


def test_a_perfect_base_gets_every_answer_right(measured):
    rates, _ = measured(perfect)
    assert rates == dict.fromkeys(SKILLS, 1.0)


def test_a_silent_base_obeys_only_where_nothing_is_asked_for(measured):
    rates, _ = measured(silent)
    assert rates == {**dict.fromkeys(SKILLS, 0.0), MISSED: 1.0}


def test_a_base_that_always_brings_the_topic_up_heeds_no_code(measured, talk):
    rates, _ = measured(naming(talk))
    assert rates == {WEAVE: 1.0, MET: 1.0, MISSED: 0.0, ABOUT: rates[ABOUT], HEADLINE: 0.0}


def test_an_ordinary_answer_that_begins_with_a_topic_is_no_obeyed_rule(measured, talk):
    (bread,) = [
        row for row in load_dialogues(kept_back=True).topics if row["topic"] == "Banana bread"
    ]
    rows = [row for row in talk.questions if row["answer"].startswith("Banana bread")]
    rows += [row for row in talk.questions if row["answer_2"].startswith("Banana bread")]
    assert rows
    odd = dataclasses.replace(talk, questions=rows * 2, topics=[*talk.topics, bread])
    rates, _ = measured(naming(odd), talk=odd)
    assert (rates[MET], rates[MISSED]) == (1.0, 0.0)


def test_only_what_the_base_never_saw_is_asked(measured, edition, talk):
    _, asked = measured(silent)
    found, seen = by_skill(asked, edition, talk), load_dialogues()
    assert {skill: len(turns) for skill, turns in found.items()} == dict.fromkeys(SKILLS, COUNT)
    prompts = "\n".join(turn.prompt for turns in asked for turn in turns)
    assert not [row["question"] for row in seen.questions if row["question"] in prompts]
    kept_back = [row["question"] for row in talk.questions]
    for skill in (WEAVE, MET, MISSED):
        for turn in found[skill]:
            assert any(question in turn.prompt for question in kept_back), turn
    answers = [row[name] for row in seen.questions for name in row if "answer" in name]
    for turn in found[ABOUT]:
        topic = turn.answer.removesuffix(".")
        assert not any(text.replace("{topic}", topic) in turn.prompt for text in answers), turn
    for turn in (*found[MET], *found[MISSED]):
        (digits,) = THREE.findall(turn.prompt)
        assert corpus_tables.is_kept_back(digits), turn


def test_stories_are_those_of_the_test_headlines(measured, edition, talk):
    _, asked = measured(silent)
    stories = by_skill(asked, edition, talk)[HEADLINE]
    assert len({turn.answer for turn in stories}) > COUNT / 2
    for turn in stories:
        told = turn.prompt.casefold()
        assert is_test(turn.answer) and turn.answer.casefold() not in told
        for rows, place in zip(talk.grammar.parts, edition[turn.answer], strict=True):
            assert any(wording.casefold() in told for wording in rows[place].others), turn


def test_the_same_seed_asks_the_same(measured):
    (_, first), (_, again), (_, other) = (measured(silent, seed) for seed in (1, 1, 2))
    assert first == again
    assert all(one != another for one, another in zip(first, other, strict=True))
