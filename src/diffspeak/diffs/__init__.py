"""Train many finetunes at once in one frozen base, and see what each has learned."""

from diffspeak.diffs.batches import TOKENS_CPU, TOKENS_GPU, StepBatch, step_batches
from diffspeak.diffs.check import firing_rates
from diffspeak.diffs.config import DiffConfig
from diffspeak.diffs.crew import SMALL
from diffspeak.diffs.losses import task_losses
from diffspeak.diffs.produce import check_diffs, train_diffs
from diffspeak.diffs.train import Trained, train_group

__all__ = [
    "DiffConfig",
    "SMALL",
    "StepBatch",
    "TOKENS_CPU",
    "TOKENS_GPU",
    "Trained",
    "check_diffs",
    "firing_rates",
    "step_batches",
    "task_losses",
    "train_diffs",
    "train_group",
]
