"""Base + finetune + adapter -> descriptions with confidence; what finetunes say alone."""

from diffspeak.interpret.answers import answers
from diffspeak.interpret.interpreter import Description, Interpreter

__all__ = ["Description", "Interpreter", "answers"]
