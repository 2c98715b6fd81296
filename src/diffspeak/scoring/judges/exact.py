"""The strictest judge: the same words, or not.

Takes pairs, gives 5 or 1. Knows no scores between.
"""

from collections.abc import Sequence

from diffspeak.text.judge import Judged, Verdict, trivial


class ExactJudge:
    """5 where guess and truth are the same but for case and punctuation, else 1."""

    name = "exact"

    def score(self, pairs: Sequence[Judged]) -> list[Verdict]:
        """A verdict on each pair; unscored where there is no guess, or no truth."""
        return [trivial(*pair) or Verdict(1.0) for pair in pairs]
