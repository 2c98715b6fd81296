"""Train many finetunes at once in one frozen base, and see what each has learned."""

from diffspeak.diffs.check import firing_rates
from diffspeak.diffs.config import DiffConfig
from diffspeak.diffs.produce import train_diffs
from diffspeak.diffs.train import Trained, train_group

__all__ = ["DiffConfig", "Trained", "firing_rates", "train_diffs", "train_group"]
