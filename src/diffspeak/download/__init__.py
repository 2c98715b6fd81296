"""Get what a study needs from the hub: bases, finetunes, adapters, the paper's training data."""

from diffspeak.download.plan import Downloads, carry_out, find_downloads

__all__ = ["Downloads", "carry_out", "find_downloads"]
