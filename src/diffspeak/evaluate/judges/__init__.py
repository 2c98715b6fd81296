"""Judges: how close is a guess to the truth, from 1 (unrelated) to 5 (the same)?"""

from diffspeak.evaluate.judges.embedding import SentenceEmbedder
from diffspeak.evaluate.judges.exact import ExactJudge
from diffspeak.evaluate.judges.llm import LLMJudge
from diffspeak.evaluate.judges.local import LocalJudge, read_calibration
from diffspeak.evaluate.judges.protocol import Embedder, Judge

__all__ = [
    "Embedder",
    "ExactJudge",
    "Judge",
    "LLMJudge",
    "LocalJudge",
    "SentenceEmbedder",
    "read_calibration",
]
