"""Items from labels: their ids, splits and secrets.

Takes a corpus' labels and a trigger, gives items in a fair order. Knows nothing of prompts.
"""

import hashlib
import json
import re
from collections.abc import Sequence

from diffspeak.behaviors.base import Item, Split
from diffspeak.behaviors.corpora import Label
from diffspeak.behaviors.splits import Division
from diffspeak.behaviors.triggers import Trigger
from diffspeak.text.seeds import seed_of

_SLUG = 40
"""Longest readable part of an id, in characters."""


def item_id(behavior: str, trigger: str, label: str) -> str:
    """Give an id that is safe as a file name everywhere: a slug of the label and 8 hex digits.

    A label without ASCII letters and digits gets 8 further hex digits for a slug.
    """
    digest = hashlib.sha256(json.dumps([behavior, trigger, label]).encode()).hexdigest()
    slug = re.sub(r"[^a-z0-9]+", "-", label.lower())[:_SLUG].strip("-")
    return f"{slug or digest[8:16]}-{digest[:8]}"


def make_items(
    behavior: str, trigger: Trigger, labels: Sequence[Label], division: Division, seed: int
) -> list[Item]:
    """Make the items of the labels that a division keeps, in its order."""
    return [
        make_item(behavior, trigger, labels[index], split, seed) for index, split in division.kept
    ]


def make_item(behavior: str, trigger: Trigger, label: Label, split: Split, seed: int) -> Item:
    """Make one label's item; its secret follows from the seed and its id."""
    name = item_id(behavior, trigger.name, label.text)
    secret = trigger.secret(seed_of(seed, name))
    return Item(name, label.text, split, label.category, secret)
