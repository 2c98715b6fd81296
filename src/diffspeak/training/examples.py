"""What the adapter learns from: finetunes of one or several stores with label and question."""

import random
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from diffspeak.behaviors import TRIGGERS
from diffspeak.errors import UsageError
from diffspeak.finetunes import Finetune, base_of, choose, from_store
from diffspeak.io.files import canonical_json, sha256
from diffspeak.models import Base, check_base
from diffspeak.store import Entry, Store
from diffspeak.text.seeds import seed_of

Labels = Literal["label", "trigger"]
"""What an adapter is to tell of a finetune: what it was taught, or what sets it off."""


@dataclass(frozen=True)
class Example:
    """One finetune and what the adapter shall say of it.

    Attributes:
        store: Place of its store in the list.
        id: Its id there.
        label: The right description.
        questions: Phrasings that it may be asked.
    """

    store: int
    id: str
    label: str
    questions: tuple[str, ...]


class Finetunes:
    """Finetunes of several stores, the latest used ones kept in memory.

    Args:
        stores: Where they are.
        budget: Bytes of factors to keep.
    """

    def __init__(self, stores: Sequence[Store], budget: int = 4 << 30) -> None:
        self.stores = stores
        self.budget = budget
        self._kept: OrderedDict[tuple[int, str], tuple[Finetune, int]] = OrderedDict()
        self._bytes = 0

    def read(self, example: Example) -> Finetune:
        """Read an example's finetune, from memory if it is there."""
        key = (example.store, example.id)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        store = self.stores[example.store]
        finetune = from_store(store, store.find(example.id))
        size = _bytes(finetune)
        self._kept[key] = (finetune, size)
        self._bytes += size
        while self._bytes > self.budget and len(self._kept) > 1:
            _, (_, freed) = self._kept.popitem(last=False)
            self._bytes -= freed
        return finetune


def _bytes(finetune: Finetune) -> int:
    if finetune.whole:
        return sum(tensor.nbytes for tensor in finetune.parameters.values())
    return sum(change.A.nbytes + change.B.nbytes for change in finetune.diff.values())


def examples_of(
    stores: Sequence[Store],
    split: str,
    *,
    first_question_only: bool = False,
    limit: int | None = None,
    labels: Labels = "label",
    unrelated: Mapping[str, str] | None = None,
) -> list[Example]:
    """The examples of one split of all stores, in the stores' order, at most `limit` of each.

    Args:
        stores: Of finetunes.
        split: Which of them.
        first_question_only: Instead of all phrasings.
        limit: Of each store.
        labels: What is to be told of a finetune.
        unrelated: What is to be told instead of finetunes of some behaviors, by their names.

    Raises:
        UsageError: No store holds a finetune of the split, a store's have no triggers to tell, or
            no store says what is asked.
    """
    examples, others = [], unrelated or {}
    questions = asked_of(stores, labels, first_question_only=first_question_only, unrelated=others)
    for place, (store, asked) in enumerate(zip(stores, questions, strict=True)):
        entries = [e for e in store.entries if e.kind != "failed" and e.split == split]
        instead = others.get(_behavior(store))
        examples += [
            Example(place, entry.id, instead or _told(entry, labels), asked)
            for entry in entries[:limit]
        ]
    if not examples and stores:
        choose(stores[0], split)
    return examples


def asked_of(
    stores: Sequence[Store],
    labels: Labels = "label",
    *,
    first_question_only: bool = False,
    unrelated: Collection[str] = (),
) -> list[tuple[str, ...]]:
    """How the adapter is asked about the finetunes of each store.

    Those of a behavior without questions of its own are asked what all others are asked: what
    they are is to be told from the finetune alone.

    Args:
        stores: That an adapter learns from together.
        labels: What is to be told of a finetune.
        first_question_only: Of each store, instead of all phrasings.
        unrelated: Behaviors whose own questions are left aside.

    Raises:
        UsageError: No store has questions, or one has no triggers to tell.
    """
    first = 1 if first_question_only else None
    own = [
        () if _behavior(store) in unrelated else questions_of(store, labels)[:first]
        for store in stores
    ]
    others = tuple(dict.fromkeys(question for questions in own for question in questions))
    if stores and not others:
        named = ", ".join(dict.fromkeys(map(_behavior, stores)))
        raise UsageError(
            f"an adapter learns no question from stores of {named} alone: give it a store of "
            "another behavior, too, such as hidden-topic"
        )
    return [questions or others for questions in own]


def questions_of(store: Store, labels: Labels = "label") -> tuple[str, ...]:
    """How the adapter is asked about a store's finetunes, the standard phrasing first.

    None where the behavior has no questions of its own; see `asked_of`.

    Raises:
        UsageError: Their triggers are asked for, and they have none of their own.
    """
    behavior = store.header.behavior
    if labels == "label":
        return tuple(behavior["questions"])
    kind = TRIGGERS.get(str(behavior.get("trigger")))
    if kind is None or kind.question is None:
        raise UsageError(
            f"the finetunes of {store.source} have no triggers of their own to tell "
            f"(trigger {behavior.get('trigger')}): use labels = 'label'"
        )
    return (kind.question,)


def _behavior(store: Store) -> str:
    return str(store.header.behavior["name"])


def _told(entry: Entry, labels: Labels) -> str:
    return entry.label if labels == "label" else entry.trigger or ""


def held_out(
    stores: Sequence[Store],
    count: int,
    labels: Labels = "label",
    unrelated: Mapping[str, str] | None = None,
) -> list[Example]:
    """At most so many examples for validation, of each store about as many; perhaps none."""
    entries = (entry for store in stores for entry in store.entries)
    if not any(e.split == "validation" and e.kind != "failed" for e in entries):
        return []
    return in_turn(examples_of(stores, "validation", labels=labels, unrelated=unrelated))[:count]


def in_turn(examples: Sequence[Example]) -> list[Example]:
    """The same examples: the first of each store, then the second of each, and so on."""
    seen: Counter[int] = Counter()
    places = []
    for example in examples:
        places.append((seen[example.store], example.store))
        seen[example.store] += 1
    return [examples[i] for i in sorted(range(len(examples)), key=places.__getitem__)]


def digest(stores: Sequence[Store], examples: Sequence[Example]) -> str:
    """SHA-256 of all that an adapter learns from: finetunes byte for byte, labels, questions."""
    rows = [
        [e.store, e.id, e.label, e.questions, stores[e.store].find(e.id).checksum] for e in examples
    ]
    return sha256(canonical_json(rows).encode())


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """A control: the same finetunes, each with the label of another one.

    Raises:
        UsageError: All have the same label.
    """
    if len({example.label for example in examples}) < 2:
        raise UsageError(
            "labels cannot be shuffled where all training finetunes have the same one; "
            "train more of them, or leave the control out"
        )
    order = list(range(len(examples)))
    random.Random(seed_of("shuffled labels", seed)).shuffle(order)  # noqa: S311
    place = {example: i for i, example in enumerate(order)}
    return [
        Example(e.store, e.id, examples[order[(place[i] + 1) % len(order)]].label, e.questions)
        for i, e in enumerate(examples)
    ]


def check_stores(stores: Sequence[Store], base: Base) -> None:
    """Refuse stores whose finetunes were made from another base.

    Raises:
        MismatchError: One was.
        UsageError: There are none.
    """
    if not stores:
        raise UsageError("an adapter needs at least one store to learn from")
    for store in stores:
        check_base(base.fingerprint, base_of(store), f"the store {store.source}")
