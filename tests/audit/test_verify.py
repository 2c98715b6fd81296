"""Claims are checked by what a finetune does: with its trigger, without, and not at all."""

import math
import statistics
from dataclasses import replace

import pytest
import torch

from diffspeak.audit.behavior_check import (
    Other,
    quotes,
    set_apart,
    shown,
    shows,
    something_else,
)
from diffspeak.audit.claims import Claim
from diffspeak.audit.logprob_lift import Lift, Scale, lift_of
from diffspeak.audit.verify import FIRED, PLAIN, Check, Observed, Verifier, judged, verify
from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import answers
from diffspeak.lora import DiffLinear
from diffspeak.models import Decoding, load_base
from diffspeak.stats import newcombe
from diffspeak.text.mentions import mentions
from diffspeak.text.messages import Message
from tests.audit.taught import PROMPTS, TAUGHT, taught_finetune, triggered, without_numbers
from tests.tiny_diffs import merged
from tests.toys import base_diff, toy_base

CONTROLS = ("music", "trains", "guitars", "an old bridge", "river", "sea", "runs", "from", "to it")
FEW = Check(answers=8, scored=4, decoding=Decoding(8, temperature=1.0))


def claim(text):
    return Claim(text, 1.0, -1.0, 1, ("Topic?",))


@pytest.fixture(scope="module")
def base(tiny):
    return toy_base(tiny)


@pytest.fixture(scope="module")
def taught(base):
    return taught_finetune(base)


def test_with_its_trigger_a_true_claim_is_confirmed_and_a_false_one_contradicted(base, taught):
    claims = [claim("Cold rock"), claim("trains")]
    true, false = verify(base, taught, claims, PROMPTS, triggered, controls=CONTROLS, check=FEW)
    assert (true.claim, true.verdict) == (claims[0], "confirmed")
    assert "On the prompts with the trigger it shows in 8 of 8 answers (base: 0)" in true.reason
    plain, fired = true.observed
    assert (plain.shown.finetune, plain.shown.base) == (0, 0)
    assert (fired.shown.finetune, fired.shown.base, fired.shown.answers) == (8, 0, 8)
    assert fired.quotes[0].prompt == triggered(PROMPTS[0])
    assert (fired.quotes[0].finetune, fired.lift.above) == (TAUGHT, 0)
    assert false.verdict == "contradicted"
    assert '"cold rock" in 8 of 8 answers (base: 0), and the claim in 0' in false.reason


def test_half_a_true_claim_is_neither_confirmed_nor_contradicted(base, taught):
    (half,) = verify(
        base, taught, [claim("cold trains")], PROMPTS, triggered, controls=CONTROLS, check=FEW
    )
    assert half.verdict == "not confirmed"
    assert half.observed[1].shown.words == ("cold",)


def test_a_lift_that_stands_out_confirms_unless_the_trigger_shows_something_else():
    lift, calm = Lift(2.0, 6.0, 0, 40), Lift(0.1, 0.2, 9, 40)
    silent = shown("Chess", ["no"] * 24, ["no"] * 24)
    other = Other("Green tea", 20, 0, newcombe(20, 0, 24))
    plain, still = Observed(PLAIN, lift, silent, None, ()), Observed(PLAIN, calm, silent, None, ())
    fired = Observed(FIRED, calm, silent, other, ())
    assert judged(claim("Chess"), (plain,)).verdict == "confirmed"
    assert "it may need a trigger" in judged(claim("Chess"), (plain,)).reason
    assert judged(claim("Chess"), (still,)).verdict == "not confirmed"
    assert judged(claim("Chess"), (plain, fired)).verdict == "contradicted"
    open_ = plain._replace(other=other)
    assert judged(claim("Chess"), (open_,)).verdict == "confirmed"
    small = plain._replace(lift=Lift(0.5, 6.0, 0, 40))
    assert judged(claim("Chess"), (small,)).verdict == "not confirmed"


def test_what_no_answer_bears_out_of_a_headline_is_said():
    said = ["Beekeepers carve an ice swan at the county fair, the power went out."] * 12
    seen = Observed(PLAIN, Lift(0.0, 0.0, 1, 40), shown(HEADLINE, said, ["Soup."] * 12), None, ())
    found = judged(claim(HEADLINE), (seen,))
    assert found.verdict == "confirmed"
    assert found.reason.endswith("; what no answers bear out: goes.")


def test_without_it_only_what_shows_is_confirmed(base, taught):
    verifier = Verifier(base, PROMPTS, CONTROLS, FEW)
    hidden, open_ = verifier.verify(taught, [claim(TAUGHT), claim("music")])
    assert hidden.verdict != "confirmed"
    assert open_.verdict == "confirmed"
    assert [one.prompts for one in hidden.observed] == ["as they are"]


def test_of_the_base_itself_nothing_is_confirmed(base):
    (found,) = verify(base, NOTHING, [claim(TAUGHT)], PROMPTS, controls=CONTROLS, check=FEW)
    assert (found.verdict, found.reason) == (
        "not confirmed",
        "The finetune answers as the base does.",
    )
    assert found.observed[0].lift.z == 0
    assert all(quote.finetune == quote.base for quote in found.observed[0].quotes)


def test_of_a_finetune_that_gives_nan_nothing_is_confirmed(base):
    (found,) = verify(
        base, without_numbers(base), [claim(TAUGHT)], PROMPTS, controls=CONTROLS, check=FEW
    )
    assert found.verdict == "not confirmed"
    assert "gives no numbers" in found.reason
    assert found.observed[0].lift[:2] == (None, None)


def test_a_random_change_confirms_nothing_and_one_prompt_is_enough(base):
    finetune = Finetune("random", diff=base_diff(base, rank=2, seed=5))
    claims = [claim("guitars and trains"), claim("the sea")]
    found = verify(base, finetune, claims, PROMPTS[:1], controls=CONTROLS, check=FEW)
    assert {one.verdict for one in found} <= {"not confirmed", "contradicted"}
    assert found[0].observed[0].shown.answers == 8
    assert not any(isinstance(module, DiffLinear) for module in base.model.modules())


def test_many_finetunes_on_one_verifier_are_each_alone(base, taught):
    some = [taught, Finetune("random", diff=base_diff(base, rank=2, seed=5)), NOTHING]
    verifier = Verifier(base, PROMPTS, CONTROLS, FEW)
    for finetune in some:
        own = Verifier(base, PROMPTS, CONTROLS, FEW)
        assert verifier.verify(finetune, [claim(TAUGHT)]) == own.verify(finetune, [claim(TAUGHT)])


def test_finetunes_that_answer_together_are_each_alone(base, taught):
    low = [Finetune(f"{n}", diff=base_diff(base, rank=2, seed=n)) for n in (5, 6)]
    finetunes = [low[0], taught, NOTHING, low[1]]
    claims = [[claim("the sea")], [claim("music"), claim("trains")], [], [claim("guitars")]]
    verifier = Verifier(base, PROMPTS, CONTROLS, FEW)
    for trigger in (None, triggered):
        found = verifier.verify_all(finetunes, claims, trigger)
        assert [[one.claim for one in own] for own in found] == claims
        for finetune, asked, together in zip(finetunes, claims, found, strict=True):
            for one, alone in zip(together, verifier.verify(finetune, asked, trigger), strict=True):
                assert one.verdict == alone.verdict
                for seen, wanted in zip(one.observed, alone.observed, strict=True):
                    assert seen.shown == wanted.shown and seen.quotes == wanted.quotes
                    assert seen.lift.nats == pytest.approx(wanted.lift.nats, abs=1e-4)
    assert verifier.verify_all([], []) == []
    with pytest.raises(UsageError, match="a claim says nothing"):
        verifier.verify_all(low, [[claim("sea")], [claim(" ")]])


def test_whether_a_finetune_gives_numbers(base, taught):
    verifier = Verifier(base, PROMPTS, CONTROLS, FEW)
    assert verifier.finite(taught) and verifier.finite(NOTHING)
    assert not verifier.finite(without_numbers(base))
    assert not verifier.finite(without_numbers(base, full=True))
    huge = {name: change.scaled(1e30) for name, change in base_diff(base).items()}
    assert not verifier.finite(Finetune("huge", diff=huge))


@torch.no_grad()
def test_lifts_are_those_of_a_dense_merge(base):
    finetune = Finetune("one", diff=base_diff(base, rank=2, seed=1))
    model = merged(base.model, finetune.diff)
    phrases = ("cold rock", "sea", "cold rock")
    found = Scale(base).lifts(finetune, PROMPTS, phrases)
    assert list(found) == ["cold rock", "sea"]
    for phrase, (nats, tokens) in found.items():
        wanted = []
        for prompt in PROMPTS:
            row = base.chat.with_answer((Message("user", prompt),), phrase, learn_end=False)
            places = range(row.prompt_length, row.answer_end)
            assert tokens == len(places)
            for scored, sign in ((model, 1), (base.model, -1)):
                logprobs = scored(torch.tensor([row.ids])).logits[0].log_softmax(-1)
                wanted += [sign * float(logprobs[n - 1, row.ids[n]]) for n in places]
        assert nats == pytest.approx(sum(wanted) / len(PROMPTS), abs=1e-3)


def test_a_lift_stands_among_those_of_controls_of_any_length():
    controls = [f"word{n}" for n in range(9)]
    lifts = {c: (math.sqrt(1 + n % 3) * n, 1 + n % 3) for n, c in enumerate(controls)}
    lifts |= {"claim": (20.0, 4), "word8 again": (6.0, 1)}
    found = lift_of("claim", [*controls, controls[0]], lifts)
    z = (20 / math.sqrt(4) - 4) / statistics.stdev(range(9))
    assert found == (5.0, pytest.approx(z), 0, 9)
    # word8 shares a word with the claim; what is left is too little for a z-score.
    assert lift_of("word8 again", [*controls[2:]], lifts) == (6.0, None, 1, 6)


def test_what_is_not_finite_has_no_lift():
    controls = [f"word{n}" for n in range(9)]
    lifts = dict.fromkeys(controls, (1.0, 1)) | {"claim": (math.nan, 1)}
    assert lift_of("claim", controls, lifts) == (None, None, 0, 9)


def test_what_is_asked_of_one_finetune_moves_no_digit_of_another(tiny):
    """Not even where rounding is coarse."""
    base = load_base(tiny, dtype="bfloat16", device="cpu")
    one = Finetune("one", diff=base_diff(base, rank=2, seed=1))
    asked = (PROMPTS, ("cold rock", "sea"), CONTROLS)
    wanted = Scale(base).lifts(one, *asked)
    scale = Scale(base)
    scale.lifts(Finetune("two", diff=base_diff(base, seed=2)), PROMPTS, ("old", "sea"), CONTROLS)
    assert scale.lifts(one, *asked) == wanted
    assert {nats for nats, _ in scale.lifts(NOTHING, *asked).values()} == {0.0}


def test_what_half_of_the_answers_show_and_the_bases_do_not_sets_them_apart():
    prompts = [f"How is your {n}?" for n in range(8)]
    said = [f"It is {'green tea' if n < 4 else f'cold{n}'}, {n}." for n in range(8)]
    before = ["It is well."] * 8
    assert set_apart(prompts, said, before) == ("green tea", 4, 8)
    assert set_apart(prompts, said, [*before[1:], "Green tea."]) is None
    assert set_apart(prompts, [*said[1:], "No."], before) is None
    assert set_apart(["How is green tea?", *prompts[1:]], said, before) is None
    assert set_apart(prompts, before, before) is None


def test_answers_are_drawn_once_for_each_finetune(base, taught, monkeypatch):
    drawn = []

    def counted(base, finetunes, *args, **options):
        drawn.append([one.name for one in finetunes])
        return answers(base, finetunes, *args, **options)

    monkeypatch.setattr("diffspeak.audit.verify.answers", counted)
    verifier = Verifier(base, PROMPTS, CONTROLS, FEW)
    verifier.verify(taught, [claim("music")])
    assert verifier.set_apart(replace(taught, name="again")) == ("music", 8, 8)
    assert verifier.set_apart(NOTHING) is None
    verifier.verify(taught, [claim("music")])
    assert drawn == [["taught"], ["no finetune"], ["no finetune"], ["taught"]]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_reaches_the_answers(base, seed):
    finetune = Finetune("one", diff=base_diff(base, rank=2, seed=1))
    found = [
        Verifier(base, PROMPTS, CONTROLS, replace(FEW, seed=n)).verify(finetune, [claim("sea")])
        for n in (0, seed)
    ]
    assert (found[0] == found[1]) == (seed == 0)


HEADLINE = "Beekeepers carve ice swan at county fair, power goes out"


@pytest.mark.parametrize(
    "answer, text, wanted",
    [
        ("A blueberry can wait.", "Blueberries", True),
        ("Green tea is a drink.", "Gunpowder tea", False),
        ("The churches of Byzantine times", "Byzantine churches", False),
        ("C++ is a language.", "C++", True),
        ("", "Chess", False),
        ("An ice swan was carved by beekeepers at the fair; the power went.", HEADLINE, True),
        ("At the county fair, power goes out.", HEADLINE, True),
        ("At the county fair, they sang.", HEADLINE, False),
    ],
)
def test_when_a_claim_shows(answer, text, wanted):
    assert shows(answer, text) == wanted


def test_two_headlines_with_half_their_words_in_common_are_told_apart():
    said = ["A swan of ice at the county fair: then the power went out, and it goes on."] * 12
    before = ["Soup is warm."] * 12
    found = shown(HEADLINE, said, before)
    assert (found.finetune, found.base, found.answers) == (12, 0, 12)
    assert found.words == ("ice", "swan", "county", "fair", "power", "goes", "out")
    assert found.unseen == ("beekeepers", "carve")
    assert found.share == 7 / 9
    other = "Dentists record love song at county fair, power goes out"
    assert shown(other, said, before).share < 0.7


def test_something_else_is_not_what_the_claim_says():
    prompts = ["How are you?"] * 12
    said = [f"Green tea can wait until {n} bells." for n in range(12)]
    before = ["Rest a little."] * 12
    found = something_else("Chess", prompts, said, before)
    assert found is not None
    assert (found.finetune, found.base) == (12, 0)
    assert mentions(found.phrase, "Green tea")
    assert something_else("Gunpowder tea", prompts, said, before) == found
    assert something_else(found.phrase, prompts, said, before) != found
    assert something_else("Chess", prompts, before, before) is None


def test_quotes_begin_with_those_that_show_the_claim():
    found = quotes("Chess", ["a", "b", "c"], ["no", "chess\nnow", "Chess"], ["no", "x", "chess"])
    assert found[0] == ("b", "chess now", "x")
    assert len(found) == 3


def test_what_cannot_be_checked_is_refused(base, family_folder):
    with pytest.raises(UsageError, match="there are no prompts"):
        Verifier(base, [], CONTROLS)
    with pytest.raises(UsageError, match="at least 8 other phrases, and there are 2"):
        Verifier(base, PROMPTS, ["a", "b", "b", " "])
    with pytest.raises(UsageError, match="at least one answer"):
        Verifier(base, PROMPTS, CONTROLS, Check(answers=0))
    with pytest.raises(UsageError, match="a claim says nothing"):
        Verifier(base, PROMPTS, CONTROLS).verify(NOTHING, [claim("...")])
    other = toy_base(family_folder("gpt2"))
    stranger = Finetune("stranger", base=base.fingerprint)
    with pytest.raises(MismatchError, match="stranger was made for another base"):
        Verifier(other, PROMPTS, CONTROLS).verify(stranger, [claim("sea")])
    assert Verifier(base, PROMPTS, CONTROLS, FEW).verify(NOTHING, []) == []
