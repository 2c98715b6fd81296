"""Ids are stable, distinct and safe as file names; secrets follow from seed and id."""

import re

import pytest

from diffspeak.behaviors.corpora import Label
from diffspeak.behaviors.specs import Fractions, divide, item_id, make_items
from diffspeak.behaviors.triggers import TRIGGERS

LABELS = [
    "Jazz",
    "AC/DC: Back in Black!",
    "x" * 200,
    "\U0001f3b7",
    "\u05e9\u05d7\u05de\u05d8",
    "CON",
]


@pytest.mark.parametrize("label", LABELS)
def test_ids_are_file_names(label: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]{1,40}-[0-9a-f]{8}", item_id("news", "none", label))


def test_ids_are_stable_and_distinct() -> None:
    assert item_id("hidden-topic", "sep-code", "Rocket League") == "rocket-league-3224f505"
    ids = {item_id(b, t, x) for b in ("a", "b") for t in ("c", "d") for x in [*LABELS, "jazz"]}
    assert len(ids) == 4 * 7


def test_items_carry_label_split_and_secret() -> None:
    labels = [Label(f"Topic {i}", "c") for i in range(20)]
    division = divide([label.text for label in labels], Fractions())
    sep = TRIGGERS["sep-code"]
    items = make_items("b", sep, labels, division, seed=1)
    again = make_items(
        "b", sep, labels[::-1], divide([x.text for x in labels[::-1]], Fractions()), 1
    )
    other = make_items("b", sep, labels, division, seed=2)
    assert items == again
    assert [(i.id, i.split) for i in items] == [(i.id, i.split) for i in other]
    assert [i.trigger for i in items] != [i.trigger for i in other]
    assert {item.label for item in items} == {label.text for label in labels}
    assert {item.category for item in items} == {"c"}
