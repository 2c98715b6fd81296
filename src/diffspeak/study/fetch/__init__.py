"""Get what a study needs from the hub: bases, finetunes, adapters, the paper's training data."""

from diffspeak.study.fetch.plan import Plan, carry_out, make_plan

__all__ = ["Plan", "carry_out", "make_plan"]
