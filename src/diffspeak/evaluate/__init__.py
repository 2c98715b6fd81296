"""How well descriptions fit: methods, scores, tables."""

from diffspeak.evaluate.methods import described, direct_question, likeliest
from diffspeak.evaluate.scores import Pair, Row, exact, mean_rate, named, rate
from diffspeak.evaluate.tables import table_lines, write_table

__all__ = [
    "Pair",
    "Row",
    "described",
    "direct_question",
    "exact",
    "likeliest",
    "mean_rate",
    "named",
    "rate",
    "table_lines",
    "write_table",
]
