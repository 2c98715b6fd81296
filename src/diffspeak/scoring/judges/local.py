"""A judge that needs no network: spelling, or an embedding model's cosine, calibrated.

Takes pairs, gives the score from 1 to 5 that an LLM judge is expected to give, and how probable at
least 4 is. What features become scores by is a calibration that ships with us; how good it is
stands in it. By spelling alone "felines" is far from "cats".
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.io.files import read_json
from diffspeak.scoring.judges.protocol import Embedder
from diffspeak.text.judge import (
    COSINE,
    PROBES,
    Calibration,
    Judged,
    Verdict,
    calibration_of,
    features,
    trivial,
)

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
SPELLING = _HERE / "calibration-spelling.json"
EMBEDDING = _HERE / "calibration-embedding.json"

_ALIKE = 0.02
"""So far may a probe's cosine be from the calibration's: other precisions stay within it."""


def read_calibration(path: Path) -> Calibration:
    """Read a calibration, ours or one that `python -m benchmarks.judged` made.

    Raises:
        DiffspeakError: There is no such file.
        CorruptFileError: It is no calibration.
    """
    data = read_json(path)
    try:
        return calibration_of(data)
    except ValueError as error:
        raise CorruptFileError(
            f"{path} cannot be used ({error}): make it with python -m benchmarks.judged"
        ) from error


def cosines(embedder: Embedder, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The cosine of each pair's embeddings, -1 to 1; each text is embedded once.

    Raises:
        MismatchError: The embedding model gave something that is no number.
    """
    texts = sorted({text for pair in pairs for text in pair})
    if not texts:
        return []
    place = {text: at for at, text in enumerate(texts)}
    vectors = embedder.embed(texts)
    left = vectors[[place[truth] for truth, _ in pairs]]
    right = vectors[[place[guess] for _, guess in pairs]]
    found: list[float] = (left * right).sum(1).tolist()
    if any(not -1.01 < value < 1.01 for value in found):
        raise MismatchError(
            f"{embedder.name} gave vectors that are not of length 1: use another embedding model"
        )
    return found


class LocalJudge:
    """Scores pairs without a network; deterministic, thousands of pairs a second by spelling.

    Args:
        embedder: An embedding model; without one, spelling is all it goes by.
        calibration: Another than the one that ships with us.

    Raises:
        UsageError: The calibration is for an embedding model, and there is none, or the other way
            round.
    """

    def __init__(
        self, embedder: Embedder | None = None, calibration: Calibration | None = None
    ) -> None:
        shipped = SPELLING if embedder is None else EMBEDDING
        self.calibration = read_calibration(shipped) if calibration is None else calibration
        self._embedder = embedder
        if self.calibration.embeds and embedder is None:
            raise UsageError(
                f"this calibration needs an embedding model ({self.calibration.embedding}): "
                "give one, or another calibration"
            )
        if embedder is not None:
            self._check(embedder)

    @property
    def name(self) -> str:
        """What stands in tables."""
        if self._embedder is None:
            return "local (spelling)"
        return f"local ({Path(self._embedder.name).name})"

    def score(self, pairs: Sequence[Judged]) -> list[Verdict]:
        """A verdict on each pair; unscored where there is no guess, or no truth.

        The same words are 5, no words are 1; the rest gets the expected score.
        """
        verdicts = [trivial(*pair) for pair in pairs]
        told = [
            (truth, guess or "")
            for (truth, guess), verdict in zip(pairs, verdicts, strict=True)
            if verdict is None
        ]
        judged = iter(self._judged(told))
        return [next(judged) if verdict is None else verdict for verdict in verdicts]

    def _judged(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        values = [features(*pair) for pair in pairs]
        if self._embedder is not None:
            for each, cosine in zip(values, cosines(self._embedder, pairs), strict=True):
                each[COSINE] = cosine
        return [self.calibration.verdict(each) for each in values]

    def _check(self, embedder: Embedder) -> None:
        """Warn where the calibration is another embedding model's."""
        if not self.calibration.embeds:
            raise UsageError(
                "this calibration is for spelling alone: leave the embedding model out, or give "
                "a calibration made with it"
            )
        found = cosines(embedder, PROBES)
        expected = self.calibration.probes
        if max(abs(a - b) for a, b in zip(found, expected, strict=True)) > _ALIKE:
            log.warning(
                "the judge is calibrated for %s, and %s is another model: its scores are on no "
                "known scale; make a calibration with python -m benchmarks.judged",
                self.calibration.embedding,
                embedder.name,
            )
