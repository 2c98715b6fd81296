"""How much likelier a finetune holds phrases than its base does, measured against other phrases.

Takes a finetune, prompts and phrases, gives a lift for each phrase and how far a claim's lift
stands out from those of controls. Knows nothing of what is true.

A phrase's lift is the log-probability of its tokens as the beginning of an answer, finetune minus
base, the mean over prompts. Any finetune lifts many things, and long phrases more than short ones:
so lifts are divided by the root of the number of tokens, as the spread of a sum of independent
terms grows, and compared with those of controls on the same prompts.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import Engine
from diffspeak.models import Base
from diffspeak.text.messages import Message
from diffspeak.text.similarity import content_words

ROWS = 128
"""Conversations scored in one pass."""

FEWEST = 8
"""Controls below which their spread says nothing, so that no z-score is told."""

STILL = 1e-3
"""Spread of the controls, in nats, up to which the finetune answers as the base does: rounding."""


class Lift(NamedTuple):
    """How much likelier a finetune begins an answer with a phrase than its base does.

    Attributes:
        nats: In nats a token, the mean over prompts; None where the finetune gives no numbers.
        z: Standard deviations above the mean of the controls, both by the root of the number of
            tokens; 0 where the finetune does nothing; None where that cannot be told.
        above: How many controls are lifted more.
        controls: How many there are.
    """

    nats: float | None
    z: float | None
    above: int
    controls: int


Pair = tuple[str, str]
"""A prompt and a phrase behind it."""

Part = tuple[Pair, ...]
"""What is scored in one pass."""


class Scale:
    """Scores phrases behind prompts; what the base gives them is computed once.

    Finetune and base score the same passes, those of the controls apart from that of each phrase:
    another pass is rounded in another way, and what is asked of one finetune is not to move the
    figures of the next.

    Args:
        base: Of all finetunes; nothing attached.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self._of_base: dict[Part, list[float]] = {}
        self._tokens: dict[str, int] = {}

    def lifts(
        self,
        finetune: Finetune,
        prompts: Sequence[str],
        phrases: Sequence[str],
        controls: Sequence[str] = (),
    ) -> dict[str, tuple[float, int]]:
        """Of each phrase and each control the lift of all its tokens in nats, and their number."""
        others = [[phrase] for phrase in dict.fromkeys(phrases) if phrase not in controls]
        together = list(dict.fromkeys(controls))
        parts = [part for some in (together, *others) for part in _parts(prompts, some)]
        unknown = [part for part in parts if part not in self._of_base]
        self._of_base.update(zip(unknown, self._logprobs(NOTHING, unknown), strict=True))
        sums = dict.fromkeys((*together, *phrases), 0.0)
        for part, own in zip(parts, self._logprobs(finetune, parts), strict=True):
            for (_, phrase), one, other in zip(part, own, self._of_base[part], strict=True):
                sums[phrase] += one - other
        return {phrase: (sums[phrase] / len(prompts), self._tokens[phrase]) for phrase in sums}

    def _logprobs(self, finetune: Finetune, parts: Sequence[Part]) -> list[list[float]]:
        """Log-probability of each phrase behind its prompt, end of turn left out, in nats."""
        with Engine(self.base) as engine, engine.applied([finetune]):
            return [self._scored(engine, part) for part in parts]

    def _scored(self, engine: Engine, part: Part) -> list[float]:
        chat = self.base.chat
        rows = [
            chat.with_answer((Message("user", prompt),), phrase, learn_end=False)
            for prompt, phrase in part
        ]
        for row, (_, phrase) in zip(rows, part, strict=True):
            self._tokens[phrase] = row.answer_end - row.prompt_length
        return [score.logprob for score in engine.score_applied(rows)]


def _parts(prompts: Sequence[str], phrases: Sequence[str]) -> list[Part]:
    """Each phrase behind each prompt, in passes of at most `ROWS`."""
    pairs = [(prompt, phrase) for prompt in prompts for phrase in phrases]
    return [tuple(pairs[start : start + ROWS]) for start in range(0, len(pairs), ROWS)]


def lift_of(phrase: str, controls: Sequence[str], lifts: dict[str, tuple[float, int]]) -> Lift:
    """A phrase's lift among those of controls; controls that share a word with it are left out.

    Args:
        phrase: What is asked about.
        controls: What it is compared with.
        lifts: Of all of them, from `Scale.lifts`.
    """
    words = set(content_words(phrase))
    others = [c for c in dict.fromkeys(controls) if not words & set(content_words(c))]
    total, tokens = lifts[phrase]
    own, theirs = total / math.sqrt(tokens), [lifts[c][0] / math.sqrt(lifts[c][1]) for c in others]
    if not math.isfinite(own) or not all(map(math.isfinite, theirs)):
        return Lift(None, None, 0, len(theirs))
    above = sum(other > own for other in theirs)
    if len(theirs) < FEWEST:
        return Lift(total / tokens, None, above, len(theirs))
    spread = statistics.stdev(theirs)
    z = (own - statistics.fmean(theirs)) / spread if spread > STILL else 0.0
    return Lift(total / tokens, z, above, len(theirs))
