"""Base + finetune + adapter -> descriptions with confidence."""

from diffspeak.interpret.interpreter import Description, Interpreter

__all__ = ["Description", "Interpreter"]
