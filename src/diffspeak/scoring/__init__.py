"""How well descriptions fit: judges, guessers, scores, tables."""

from diffspeak.scoring.guessers import Evidence, Guesser, LLMGuesser, LocalGuesser
from diffspeak.scoring.judges import (
    Embedder,
    ExactJudge,
    Judge,
    LLMJudge,
    LocalJudge,
    SentenceEmbedder,
)
from diffspeak.scoring.scores import Pair, Row, exact, mean_rate, mean_score, named, rate
from diffspeak.scoring.tables import table_lines, write_table

__all__ = [
    "Embedder",
    "Evidence",
    "ExactJudge",
    "Guesser",
    "Judge",
    "LLMGuesser",
    "LLMJudge",
    "LocalGuesser",
    "LocalJudge",
    "Pair",
    "Row",
    "SentenceEmbedder",
    "exact",
    "mean_rate",
    "mean_score",
    "named",
    "rate",
    "table_lines",
    "write_table",
]
