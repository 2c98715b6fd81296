"""What a judge is, and what it may ask of an embedding model."""

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from diffspeak.text.judge import Judged, Verdict


class Judge(Protocol):
    """Compares guesses with truths; of the same two texts it always thinks the same."""

    @property
    def name(self) -> str:
        """What stands in tables."""

    def score(self, pairs: Sequence[Judged]) -> list[Verdict]:
        """A verdict on each pair, in their order."""


class Embedder(Protocol):
    """Turns texts into vectors whose directions are alike where the texts' meanings are."""

    @property
    def name(self) -> str:
        """Hub id or folder."""

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Vectors of length 1, `[text, size]`."""
