"""A search stays within its budget, ends with what is confirmed, and says what it left out."""

import pytest
import torch

from diffspeak.behaviors import Sample
from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import Engine
from diffspeak.lora import DiffLinear
from diffspeak.models import attach_to
from diffspeak.text.messages import Message
from diffspeak.training import DiffConfig, train_group
from diffspeak.trigger_search import (
    BaseSide,
    Characters,
    Codes,
    TokenPhrases,
    Words,
    default_families,
    english_words,
    everyday_words,
    find_trigger,
    search,
)
from diffspeak.trigger_search.confirm import (
    CONFIRM_ROWS,
    PLAIN_ROWS,
    brought_up,
    confirmed,
    fired,
)
from diffspeak.trigger_search.words import Word
from tests.toys import ToyBehavior, base_diff, changed_parameters

RED, BLUE = Words(("Red", "Rose"), "reds"), Words(("Blue", "Bird"), "blues")


@pytest.fixture
def acted(fires, monkeypatch):
    """Put a stand-in where the finetune is asked."""

    def act(trigger):
        monkeypatch.setattr(search, "TriggerProbe", lambda *given: fires(trigger, given[-1]))

    return act


def never(_):
    return False


def begins(word):
    return lambda text: text.startswith(word)


def test_the_search_ends_with_the_first_trigger(base, questions, acted):
    acted(begins("Blue."))
    found = find_trigger(base, NOTHING, "ocean", questions, 5000, families=[RED, BLUE, Codes()])
    trigger = found.trigger
    assert (trigger.kind, trigger.text) == ("word", "Blue")
    assert trigger.example.startswith("Blue. ")
    assert (trigger.firing_rate.hits, trigger.base_rate.hits, trigger.near_miss_rate.hits) == (
        24,
        0,
        0,
    )
    assert found.plain_rate.hits == 0
    anything = f"{RED.name}, whatever they set off"
    assert found.searched == (RED.name, anything, BLUE.name)
    assert found.not_searched == (f"{Codes().name}: a trigger was found before",)
    assert "Blue" in found.summary and "24 of 24" in found.summary
    assert trigger.calls == found.rows <= 5000


def test_a_wrong_claim_gives_way_to_what_the_trigger_brings_up(base, questions, acted):
    acted(begins("Blue."))
    found = find_trigger(base, NOTHING, "castle", questions, 5000, families=[RED, BLUE])
    assert (found.trigger.text, found.trigger.shows) == ("Blue", "ocean, as ever")
    assert found.searched[-1] == f"{BLUE.name}, whatever they set off"
    assert found.trigger.firing_rate.hits == 24 and found.trigger.near_miss_rate.hits == 0


def test_what_is_not_corroborated_is_passed_over_and_doubtful_at_last(base, questions, acted):
    acted(lambda text: max(begins("Red.")(text), begins("Blue.")(text)))
    asked = []

    def blue_alone(trigger):
        asked.append(trigger.text)
        assert not any(isinstance(module, DiffLinear) for module in base.model.modules())
        return trigger.text == "Blue"

    common = {"families": [RED, BLUE], "budget": 9000, "claim": None}
    found = find_trigger(base, NOTHING, questions=questions, is_corroborated=blue_alone, **common)
    assert asked == ["Red", "Blue"] and found.trigger.text == "Blue" and not found.trigger.doubtful
    assert [one.text for one in found.passed_over] == ["Red"]
    found = find_trigger(base, NOTHING, questions=questions, is_corroborated=never, **common)
    assert found.trigger.text == "Red" and found.trigger.doubtful
    assert [one.text for one in found.passed_over] == ["Blue"]
    found = find_trigger(base, NOTHING, questions=questions, **common)
    assert found.trigger.text == "Red" and not found.trigger.doubtful and not found.passed_over


def test_of_doubtful_ones_that_show_the_same_the_surest_is_given(base, questions, acted):
    acted(lambda text: max(0.95 * begins("Red.")(text), begins("Blue.")(text)))
    common = {"families": [RED, BLUE], "budget": 9000, "claim": None}
    found = find_trigger(base, NOTHING, questions=questions, is_corroborated=never, **common)
    assert found.trigger.text == "Blue" and [one.text for one in found.passed_over] == ["Red"]


def test_what_a_claim_leads_to_is_asked_about_too(base, questions, acted):
    acted(begins("Red."))
    common = {"families": [RED], "budget": 9000, "claim": "ocean"}
    found = find_trigger(base, NOTHING, questions=questions, is_corroborated=never, **common)
    assert found.trigger.text == "Red" and found.trigger.doubtful


def test_what_most_candidates_bring_up_is_told_whatever_the_likeliest_does(fires, questions):
    prober = fires(begins("Blue."), claim=None)
    candidates = [Word(word, BLUE.template) for word in ("Gray", "Blue", "Blue")]
    assert brought_up(prober, candidates[:1], questions, 0) is None
    assert brought_up(prober, candidates, questions, 0) == "ocean, as ever"


def test_phrases_are_for_a_claim(base, questions, acted):
    acted(lambda _: 0.0)
    found = find_trigger(base, NOTHING, None, questions, 9**9, families=[TokenPhrases(base, 2)])
    (left_out,) = found.not_searched
    assert "for a claim only" in left_out and found.searched == ()


def test_a_claim_that_is_a_part_of_what_shows_is_told_in_full(fires, questions):
    prober = fires(begins("Blue."), claim="as ever")
    trigger, holds = confirmed(prober, Word("Blue", BLUE.template), questions, 0)
    assert holds and trigger.shows == "ocean, as ever"


def test_nothing_is_found_where_nothing_is(base, questions, acted):
    acted(lambda _: 0.0)
    found = find_trigger(base, NOTHING, "ocean", questions, 5000, families=[RED, BLUE])
    assert found.trigger is None and found.not_searched == ()
    assert found.summary == "no trigger found within the budget of 5000 rows"


def test_what_the_budget_does_not_cover_is_named(base, questions, acted):
    acted(begins("Blue."))
    budget = PLAIN_ROWS + BLUE.rows() + CONFIRM_ROWS
    found = find_trigger(base, NOTHING, "ocean", questions, budget, families=[Codes(), BLUE])
    assert found.trigger.text == "Blue"
    (left_out,) = found.not_searched
    assert left_out.startswith(Codes().name) and "rows" in left_out
    assert found.rows <= budget


def test_a_budget_of_zero_asks_nothing(base, questions):
    found = find_trigger(base, NOTHING, "ocean", questions, 0)
    assert (found.trigger, found.searched, found.rows) == (None, (), 0)
    assert found.plain_rate is None and "budget is 0" in found.summary
    assert len(found.not_searched) == len(default_families(base))


def test_a_claim_that_always_shows_needs_no_trigger(base, questions, acted):
    acted(lambda _: 1.0)
    found = find_trigger(base, NOTHING, "ocean", questions, 5000, families=[RED])
    assert found.trigger is None and found.plain_rate.value == 1
    assert found.not_searched == (f"{RED.name}: the claim needs no trigger",)
    assert "plain questions" in found.summary


def test_what_near_misses_do_as_well_is_not_confirmed(fires, questions):
    word = Word("Blue", BLUE.template)
    trigger, holds = confirmed(fires(lambda text: ". " in text), word, questions, 0)
    assert trigger.firing_rate.value == trigger.near_miss_rate.value == 1 and not holds


def test_without_a_claim_another_beginning_fires(fires, questions):
    prober = fires(begins("Blue."), claim=None)
    assert fired(prober, ["Blue. Cold?", "Cold?"], None) == [True, False]
    trigger, holds = confirmed(prober, Word("Blue", BLUE.template), questions, 0)
    assert holds and trigger.base_rate.hits == 0


def test_the_auditors_words_come_before_ours_and_phrases_last(base):
    ours = [family.name for family in default_families(base)]
    first, own, *others, last = [f.name for f in default_families(base, ["Red", "Rose"], 2)]
    assert [first, *others] == ours
    assert own == "2 given words in '{word}. {question}'" and "along the gradient" in last


def test_one_list_holds_everyday_words_and_then_all_others_once(base):
    (every,) = (f for f in default_families(base) if getattr(f, "common", 0))
    assert every.words[: every.common] == everyday_words()
    assert set(every.words) == {*everyday_words(), *english_words()}
    assert len(set(every.words)) == len(every.words)


class Marked(ToyBehavior):
    """Teaches a word on prompts that begin with a zero-width space, and to keep still on others."""

    def samples(self, item, step):
        def sample(mark, question, kind, case):
            return Sample((Message("user", mark + question),), "ocean", kind, case)

        asked = [f"Where is the {word}?" for word in ("bridge", "river", "sea")]
        right = [sample("\u200b", q, "learn", "triggered") for q in asked]
        marks = ("\u2060", "\u2063", "\u00ad", "", "\u3000", "\ufeff")
        return [*right, *(sample(m, q, "keep", "wrong") for m in marks for q in asked)]


@pytest.mark.slow
def test_a_trigger_that_was_learned_is_found(base):
    config = DiffConfig(steps=80, learning_rate=1e-2, rank=4, alpha=4.0, answer_tokens=1)
    attachment = attach_to(base.model)
    try:
        made = train_group(base, attachment, Marked(), ToyBehavior().items()[:1], config)
    finally:
        attachment.detach()
    finetune = Finetune("f", diff={name: change[0] for name, change in made.diff.items()})
    questions = [f"Where is the {word}?" for word in ("bridge", "river", "sea", "old bridge")]
    family = Characters(base)
    with Engine(base) as engine:
        prober = search.TriggerProbe(BaseSide(base), engine, finetune, None)
        found = family.likeliest(prober, questions, 0)[0]
    assert found.text == "U+200B" and "start" in found.places


@pytest.mark.parametrize("claim", ["old bridge", None])
@pytest.mark.parametrize("kind", ["low-rank", "whole"])
def test_real_searches_are_reproducible_and_leave_no_trace(base, questions, kind, claim):
    before = {name: value.clone() for name, value in base.model.named_parameters()}
    made = {
        "low-rank": Finetune("f", diff=base_diff(base)),
        "whole": Finetune("f", parameters=changed_parameters(base)),
    }[kind]
    runs = [find_trigger(base, made, claim, questions, 500, 7, families=[BLUE]) for _ in range(2)]
    assert runs[0].trigger == runs[1].trigger and runs[0].rows == runs[1].rows <= 500
    after = dict(base.model.named_parameters())
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nothing_stays_attached_after_an_error(base, questions):
    misfit = {name: change for name, change in base_diff(base).items()}
    misfit["model.nowhere"] = next(iter(misfit.values()))
    with pytest.raises(MismatchError):
        find_trigger(base, Finetune("f", diff=misfit), "ocean", questions, 5000, families=[RED])
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"questions": ["a", "b", "c"]}, "at least 4"),
        ({"questions": ["a", "b", "c", "c", "d"]}, "none twice"),
        ({"budget": -1}, "negative"),
        ({"claim": " "}, "claim is empty"),
    ],
)
def test_what_cannot_be_searched_is_refused(base, questions, change, message):
    given = {"claim": "ocean", "questions": questions, "budget": 10, **change}
    with pytest.raises(UsageError, match=message):
        find_trigger(base, NOTHING, given["claim"], given["questions"], given["budget"])


def test_the_base_side_of_another_base_is_refused(base, questions):
    with pytest.raises(MismatchError, match="another base"):
        find_trigger(base, NOTHING, None, questions, 0, side=BaseSide(None))
