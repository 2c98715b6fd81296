"""Base + finetune + adapter -> descriptions with confidence; what finetunes say alone."""

from diffspeak.interpret.answers import answers
from diffspeak.interpret.interpreter import NOTHING_FOUND, Description, Interpreter

__all__ = ["NOTHING_FOUND", "Description", "Interpreter", "answers"]
