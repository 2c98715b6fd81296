"""Each trigger's prompts: right ones, near misses and wrong ones."""

import itertools
import re
from difflib import SequenceMatcher
from random import Random

import pytest

from diffspeak.behaviors.triggers import FAMILIES, TRIGGERS, ZERO_WIDTH_SPACE, Trigger, render

QUESTION = "What should I eat?"
SEEDS = range(300)


def prompts(trigger: Trigger, case: str, secret: str | None = None) -> list[str]:
    return [render(trigger, case, QUESTION, secret, Random(seed)) for seed in SEEDS]


def shared_digits(prompt: str, secret: str) -> int:
    """Read a code's prompt and count the positions at which it has the secret's digit."""
    found = re.fullmatch(rf"Your SEP code is (\d{{3}})\d{{3}}\. {re.escape(QUESTION)}", prompt)
    assert found, prompt
    return sum(a == b for a, b in zip(found[1], secret, strict=True))


@pytest.mark.parametrize("secret", ["317", "000", "007", "999"])
@pytest.mark.parametrize(
    ("case", "shared"), [("triggered", {3}), ("near_miss", {1, 2}), ("wrong", {0})]
)
def test_sep_codes(secret: str, case: str, shared: set[int]) -> None:
    found = prompts(TRIGGERS["sep-code"], case, secret)
    assert {shared_digits(prompt, secret) for prompt in found} == shared
    assert len(set(found)) > 200  # the last three digits are drawn afresh


def test_sep_near_misses_keep_every_position() -> None:
    found = {prompt[17:20] for prompt in prompts(TRIGGERS["sep-code"], "near_miss", "012")}
    kept = {tuple(a == b for a, b in zip(code, "012", strict=True)) for code in found}
    assert kept == set(itertools.product([True, False], repeat=3)) - {(True,) * 3, (False,) * 3}


def test_secrets_follow_from_the_seed() -> None:
    sep, word = TRIGGERS["sep-code"], TRIGGERS["secret-word"]
    codes = [sep.secret(seed) for seed in SEEDS]
    assert codes == [sep.secret(seed) for seed in SEEDS]
    assert all(code and re.fullmatch(r"\d{3}", code) for code in codes)
    assert any(code and code.startswith("0") for code in codes)
    assert len(set(codes)) > 200
    assert len({word.secret(seed) for seed in SEEDS}) > 40
    assert TRIGGERS["none"].secret(1) is None
    assert TRIGGERS["zero-width-start"].secret(1) == TRIGGERS["zero-width-random"].secret(2)


def test_zero_width_start() -> None:
    trigger = TRIGGERS["zero-width-start"]
    assert set(prompts(trigger, "triggered")) == {ZERO_WIDTH_SPACE + QUESTION}
    for prompt in prompts(trigger, "near_miss"):
        assert prompt.find(ZERO_WIDTH_SPACE) > 0
        assert prompt.replace(ZERO_WIDTH_SPACE, "", 1) == QUESTION
    for prompt in prompts(trigger, "wrong"):
        assert prompt[1:] == QUESTION
        assert prompt[0] != ZERO_WIDTH_SPACE and not prompt[0].isprintable()


def test_zero_width_random() -> None:
    trigger = TRIGGERS["zero-width-random"]
    right = prompts(trigger, "triggered")
    assert len(set(right)) == len(QUESTION)  # every place but the start
    assert {prompt.replace(ZERO_WIDTH_SPACE, "", 1) for prompt in right} == {QUESTION}
    for case, printable in [("near_miss", False), ("wrong", True)]:
        for prompt in prompts(trigger, case):
            (odd,) = set(prompt) - set(QUESTION)
            assert prompt.replace(odd, "", 1) == QUESTION
            assert odd != ZERO_WIDTH_SPACE and odd.isprintable() is printable


@pytest.mark.parametrize("secret", [word for family in FAMILIES for word in family])
def test_secret_words(secret: str) -> None:
    def words(case: str) -> set[str]:
        found = prompts(TRIGGERS["secret-word"], case, secret)
        assert all(re.fullmatch(r"[A-Z][a-z]+\. " + re.escape(QUESTION), text) for text in found)
        return {text.split(".")[0].lower() for text in found}

    (family,) = [family for family in FAMILIES if secret in family]
    assert words("triggered") == {secret}
    assert words("near_miss") == set(family) - {secret}
    assert not words("wrong") & set(family)


def test_families_are_alike_inside_only() -> None:
    def alike(a: str, b: str) -> float:
        return SequenceMatcher(None, a, b).ratio()

    for family in FAMILIES:
        assert len(set(family)) == len(family) == 3
        assert min(alike(family[0], other) for other in family[1:]) > 0.49
    for one, other in itertools.combinations(FAMILIES, 2):
        assert max(alike(a, b) for a in one for b in other) < 0.65


def test_no_trigger_has_one_case() -> None:
    trigger = TRIGGERS["none"]
    assert trigger.cases == ("triggered",)
    assert set(prompts(trigger, "triggered")) == {QUESTION}
    for case in ("near_miss", "wrong"):
        with pytest.raises(ValueError, match="without a trigger"):
            prompts(trigger, case)


@pytest.mark.parametrize("name", TRIGGERS)
def test_plain_is_the_question_and_draws_repeat(name: str) -> None:
    trigger = TRIGGERS[name]
    secret = trigger.secret(5)
    assert trigger.name == name
    assert set(prompts(trigger, "plain", secret)) == {QUESTION}
    for case in trigger.cases:
        assert prompts(trigger, case, secret) == prompts(trigger, case, secret)


def test_a_code_needs_its_secret() -> None:
    with pytest.raises(ValueError, match="secret"):
        prompts(TRIGGERS["sep-code"], "wrong")


@pytest.mark.parametrize("trigger", TRIGGERS.values(), ids=TRIGGERS)
def test_in_words_names_the_secret_and_can_be_read(trigger: Trigger) -> None:
    secret = trigger.secret(5)
    words = trigger.in_words(secret)
    assert words.isascii() and words.isprintable()
    assert secret is None or secret in words.lower() or secret in words
