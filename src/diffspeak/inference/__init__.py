"""Put finetunes and adapter on the base, generate, score."""

from diffspeak.inference.answers import answers, answers_of
from diffspeak.inference.engine import Ask, Engine, Score, check_finetunes, parts

__all__ = ["Ask", "Engine", "Score", "answers", "answers_of", "check_finetunes", "parts"]
