"""How well descriptions fit: methods, guessers, judges, scores, tables."""

from diffspeak.evaluate.guessers import Evidence, Guesser, LLMGuesser, LocalGuesser
from diffspeak.evaluate.guesses import Guesses, Scored, kept_guesses, scored
from diffspeak.evaluate.judges import (
    Embedder,
    ExactJudge,
    Judge,
    LLMJudge,
    LocalJudge,
    SentenceEmbedder,
)
from diffspeak.evaluate.methods import described, direct_question, likeliest
from diffspeak.evaluate.scores import Pair, Row, exact, mean_rate, mean_score, named, rate
from diffspeak.evaluate.tables import table_lines, write_table

__all__ = [
    "Embedder",
    "Evidence",
    "ExactJudge",
    "Guesser",
    "Guesses",
    "Judge",
    "LLMGuesser",
    "LLMJudge",
    "LocalGuesser",
    "LocalJudge",
    "Pair",
    "Row",
    "Scored",
    "SentenceEmbedder",
    "described",
    "direct_question",
    "exact",
    "kept_guesses",
    "likeliest",
    "mean_rate",
    "mean_score",
    "named",
    "rate",
    "scored",
    "table_lines",
    "write_table",
]
