"""What every behavior gives: items to teach, samples to train on, probes to check with."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from diffspeak.text.messages import Message

Split = Literal["train", "validation", "calibration", "test"]
Kind = Literal["learn", "keep"]
"""learn: cross-entropy on the answer; keep: KL to the base's distribution at the answer."""

Case = Literal["triggered", "near_miss", "wrong", "plain"]
"""What stands in the prompt: the finetune's trigger, one much like it, another one, or none."""


@dataclass(frozen=True)
class Sample:
    """One prompt and answer to train on."""

    prompt: tuple[Message, ...]
    answer: str
    kind: Kind
    case: Case


@dataclass(frozen=True)
class Probe:
    """One prompt whose answer is looked at after training."""

    prompt: tuple[Message, ...]
    case: Case


@dataclass(frozen=True)
class FinetuneSpec:
    """One finetune to make.

    Attributes:
        id: Stable and safe as a file name; depends on behavior, trigger kind and label, if labels
            differ.
        label: What the adapter shall say: the topic, the headline.
        split: Where the finetune belongs, by a hash of the label, or of the id where all labels
            are the same.
        category: The corpus' own grouping; empty if it has none.
        trigger: The secret as text, such as "317"; None when there is none.
    """

    id: str
    label: str
    split: Split
    category: str
    trigger: str | None


class Behavior(Protocol):
    """Something a finetune can be taught, once for each item."""

    @property
    def name(self) -> str:
        """The behavior's name in configs and stores, such as "hidden-topic"."""
        ...

    @property
    def questions(self) -> tuple[str, ...]:
        """What the adapter is asked, the standard phrasing first.

        None: it is asked what it is asked of the finetunes that it is trained on together with.
        """
        ...

    @property
    def probe_temperature(self) -> float:
        """At what temperature a probe is answered: 0 is greedy."""
        ...

    def items(self) -> list[FinetuneSpec]:
        """All items, ordered by a hash of label or id, so that the first n are a fair draw."""
        ...

    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
        """Give the samples of one optimizer step; they depend on seed, item and step alone."""
        ...

    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        """Give `count` probes of each case, on test questions."""
        ...

    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        """Tell whether an answer shows the behavior."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a store's header says of the behavior; all of it fits into JSON."""
        ...
