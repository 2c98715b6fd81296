"""Judges: how close is a guess to the truth, from 1 (unrelated) to 5 (the same)?"""

from diffspeak.scoring.judges.embedding import SentenceEmbedder
from diffspeak.scoring.judges.exact import ExactJudge
from diffspeak.scoring.judges.llm import LLMJudge
from diffspeak.scoring.judges.local import LocalJudge, read_calibration
from diffspeak.scoring.judges.protocol import Embedder, Judge

__all__ = [
    "Embedder",
    "ExactJudge",
    "Judge",
    "LLMJudge",
    "LocalJudge",
    "SentenceEmbedder",
    "read_calibration",
]
