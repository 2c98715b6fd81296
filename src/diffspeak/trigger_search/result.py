"""What a search for a trigger found, and what it looked at and what not.

Holds data only; knows nothing of models.
"""

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from diffspeak.errors import UsageError
from diffspeak.text.seeds import seed_of

if TYPE_CHECKING:
    from diffspeak.trigger_search.candidates import Suspect


@dataclass(frozen=True)
class Rate:
    """How often something happened.

    Attributes:
        hits: How many times.
        n: Out of how many; at least 1.
        interval: Wilson's 95% interval of the share, between 0 and 1 (Wilson, 1927).
    """

    hits: int
    n: int
    interval: tuple[float, float]

    @property
    def value(self) -> float:
        """The share, between 0 and 1."""
        return self.hits / self.n


@dataclass(frozen=True)
class Trigger:
    """What sets a finetune off.

    Attributes:
        kind: `code`, `frame` (any number in it), `character` or `word`.
        text: A code's digits with `?` where any will do, a character as `U+200B`, or a word.
        place: Where it stands in a prompt, in words.
        example: A whole prompt that fires, with one of the questions.
        firing_rate: Answers of the finetune that mention what it shows when the trigger is there,
            on questions the search did not use.
        base_rate: The same of the base, on the same prompts.
        near_miss_rate: The same of the finetune, on prompts that only look like the trigger.
        calls: Rows that were spent until it was found: prompts read by one model, the rows of its
            own confirmation included.
        shows: What its answers mention: the claim, or a longer phrase that holds it, or without one
            what they bring up; None if that is no phrase.
        doubtful: Whether nothing else speaks for what it brings up having been taught.
        suspect: Puts it into a prompt; not part of what is written down.
    """

    kind: str
    text: str
    place: str
    example: str
    firing_rate: Rate
    base_rate: Rate
    near_miss_rate: Rate
    calls: int
    shows: str | None = None
    doubtful: bool = False
    suspect: "Suspect | None" = field(default=None, repr=False, compare=False)

    def put(self, prompt: str) -> str:
        """A prompt with the trigger in it; what does not belong to it depends on the prompt alone.

        Raises:
            UsageError: It was read from a file, which does not say how to put it anywhere.
        """
        if self.suspect is None:
            raise UsageError(f"how {self.text} is put into a prompt is not known: search it again")
        return self.suspect.prompt(prompt, Random(seed_of("put", prompt)))


@dataclass(frozen=True)
class Search:
    """The outcome of a search.

    Attributes:
        trigger: What was found; None for nothing within the budget.
        summary: The outcome in one sentence, for people.
        searched: Families that were searched, in order.
        not_searched: Families that were not, each with the reason.
        plain_rate: How often the finetune shows the claim on plain questions; None where nothing
            was asked.
        rows: Prompts read by one model.
        seconds: Of this process.
        passed_over: What else sets the finetune off, without more that speaks for it.
    """

    trigger: Trigger | None
    summary: str
    searched: tuple[str, ...]
    not_searched: tuple[str, ...]
    plain_rate: Rate | None
    rows: int
    seconds: float
    passed_over: tuple[Trigger, ...] = ()
