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

import torch

from diffspeak.finetunes import NOTHING, Finetune, put_on
from diffspeak.models import Base, attach_to, make_batch, readout_of
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


class Scale:
    """Scores phrases behind prompts; what the base gives them is computed once.

    Args:
        base: Of all finetunes; nothing attached.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self._of_base: dict[tuple[str, str], float] = {}
        self._tokens: dict[str, int] = {}

    def lifts(
        self, finetune: Finetune, prompts: Sequence[str], phrases: Sequence[str]
    ) -> dict[str, tuple[float, int]]:
        """Of each phrase the lift of all its tokens in nats, and their number."""
        pairs = [(prompt, phrase) for prompt in prompts for phrase in dict.fromkeys(phrases)]
        unknown = [pair for pair in dict.fromkeys(pairs) if pair not in self._of_base]
        self._of_base.update(zip(unknown, self._logprobs(NOTHING, unknown), strict=True))
        sums = dict.fromkeys(phrases, 0.0)
        for (prompt, phrase), own in zip(pairs, self._logprobs(finetune, pairs), strict=True):
            sums[phrase] += own - self._of_base[prompt, phrase]
        return {phrase: (sums[phrase] / len(prompts), self._tokens[phrase]) for phrase in sums}

    @torch.no_grad()
    def _logprobs(self, finetune: Finetune, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Log-probability of each phrase behind its prompt, end of turn left out, in nats."""
        chat = self.base.chat
        found: list[float] = []
        attachment = attach_to(self.base.model)
        try:
            readout = readout_of(self.base.model)
            with put_on(self.base, attachment, [finetune]):
                for start in range(0, len(pairs), ROWS):
                    rows = [
                        chat.with_answer((Message("user", prompt),), phrase, learn_end=False)
                        for prompt, phrase in pairs[start : start + ROWS]
                    ]
                    batch = make_batch(rows, chat.pad_id).to(self.base.device)
                    logprobs = readout.logprobs(batch)
                    sums = torch.zeros(len(rows), device=logprobs.device)
                    found += sums.index_add(0, batch.rows, logprobs).tolist()
                    for row, (_, phrase) in zip(rows, pairs[start : start + ROWS], strict=True):
                        self._tokens[phrase] = row.answer_end - row.prompt_length
        finally:
            attachment.detach()
        return found


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
