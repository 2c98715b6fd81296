"""From labels to finetune specs: splits by a stable hash, ids, secrets.

No duplicate of a label stands in two splits.
"""

import hashlib
import json
import logging
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diffspeak.behaviors.base import FinetuneSpec, Split
from diffspeak.behaviors.corpora import Label
from diffspeak.behaviors.triggers import Trigger
from diffspeak.text.seeds import seed_of
from diffspeak.text.similarity import NearIndex, canonical_key
from diffspeak.text.split_hash import place_of_key

_SLUG = 40
"""Longest readable part of an id, in characters."""

_SPLITS: tuple[Split, ...] = get_args(Split)


class Fractions(BaseModel):
    """What share of the labels each split gets; the shares sum to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: float = Field(
        default=0.8, ge=0, le=1, description="Share of labels to train the adapter on."
    )
    validation: float = Field(
        default=0.05, ge=0, le=1, description="Share to watch the training with."
    )
    calibration: float = Field(
        default=0.05, ge=0, le=1, description="Share to calibrate confidence on."
    )
    test: float = Field(default=0.1, ge=0, le=1, description="Share that only the evaluation sees.")

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Fractions":
        total = sum(self.in_order())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the four fractions must sum to 1, not to {total:g}")
        return self

    def in_order(self) -> tuple[float, ...]:
        """The shares from the lowest split in precedence (train) to the highest (test)."""
        return tuple(getattr(self, split) for split in _SPLITS)


@dataclass(frozen=True)
class Division:
    """Labels divided into splits.

    Attributes:
        kept: Index of each label that stays, with its split; in a fair order that depends on
            each label alone.
        exact: How many labels were dropped as trivial variants of an earlier one.
        near: How many were dropped as near duplicates of one in a higher split.
    """

    kept: tuple[tuple[int, Split], ...]
    exact: int
    near: int

    def dropped(self) -> dict[str, int]:
        """Give both counts by name, as a store keeps them."""
        return {"exact": self.exact, "near": self.near}


def split_of(label: str, fractions: Fractions) -> Split:
    """Give the split of a label; it depends on the label's canonical key and fractions alone."""
    return _split_of_key(canonical_key(label), fractions)


def divide(labels: Sequence[str], fractions: Fractions) -> Division:
    """Divide labels into splits so that no duplicate of a label stands in two of them.

    Of trivial variants the first is kept. A label that is near one of a split of higher
    precedence (train < validation < calibration < test) is dropped, even if that one is itself
    dropped: so adding labels can drop others, but never moves one or brings one back.
    """
    first: dict[str, int] = {}
    for index, label in enumerate(labels):
        first.setdefault(canonical_key(label), index)
    splits = {key: _split_of_key(key, fractions) for key in first}
    dropped = _near_higher(splits)
    ordered = sorted(first.keys() - dropped, key=lambda key: (seed_of("order", key), key))
    kept = tuple((first[key], splits[key]) for key in ordered)
    division = Division(kept, exact=len(labels) - len(first), near=len(dropped))
    if division.exact or division.near:
        logging.getLogger(__name__).info(
            "of %d labels, dropped %d repeated ones and %d near duplicates across splits",
            len(labels),
            division.exact,
            division.near,
        )
    return division


def _split_of_key(key: str, fractions: Fractions) -> Split:
    *bounds, _ = accumulate(fractions.in_order())
    return _SPLITS[bisect_right(bounds, place_of_key(key))]


def _near_higher(splits: dict[str, Split]) -> set[str]:
    """Find the keys that are near one of a split of higher precedence."""
    dropped: set[str] = set()
    for rank, split in enumerate(_SPLITS):
        higher = NearIndex([key for key, other in splits.items() if _SPLITS.index(other) > rank])
        own = (key for key, other in splits.items() if other == split)
        dropped.update(key for key in own if higher.has_near(key))
    return dropped


def item_id(behavior: str, trigger: str, label: str) -> str:
    """Give an id that is safe as a file name everywhere: a slug of the label and 8 hex digits.

    A label without ASCII letters and digits gets 8 further hex digits for a slug.
    """
    digest = hashlib.sha256(json.dumps([behavior, trigger, label]).encode()).hexdigest()
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower())[:_SLUG].strip("-")
    return f"{slug or digest[8:16]}-{digest[:8]}"


def make_items(
    behavior: str, trigger: Trigger, labels: Sequence[Label], division: Division, seed: int
) -> list[FinetuneSpec]:
    """Make the items of the labels that a division keeps, in its order."""
    return [
        make_item(behavior, trigger, labels[index], split, seed) for index, split in division.kept
    ]


def make_item(
    behavior: str, trigger: Trigger, label: Label, split: Split, seed: int
) -> FinetuneSpec:
    """Make one label's item; its secret follows from the seed and its id."""
    name = item_id(behavior, trigger.name, label.text)
    secret = trigger.secret(seed_of(seed, name))
    return FinetuneSpec(name, label.text, split, label.category, secret)
