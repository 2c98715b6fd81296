"""Put finetunes and adapter on the base, generate, score."""

from diffspeak.inference.answers import answers
from diffspeak.inference.ask import ask, mean_logprobs

__all__ = [
    "answers",
    "ask",
    "mean_logprobs",
]
