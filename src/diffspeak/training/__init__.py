"""Train finetunes, many at once, and the adapter that describes them."""

from diffspeak.training.adapter import check_adapter, train_adapter
from diffspeak.training.batches import TOKENS_CPU, TOKENS_GPU, StepBatch, step_batches
from diffspeak.training.config import AdapterConfig, DiffConfig
from diffspeak.training.diffs import check_diffs, train_diffs
from diffspeak.training.examples import Labels, asked_of, questions_of
from diffspeak.training.group import TrainedGroup, firing_rates, train_group, train_together
from diffspeak.training.losses import task_losses
from diffspeak.training.worker_pool import SMALL

__all__ = [
    "AdapterConfig",
    "DiffConfig",
    "Labels",
    "SMALL",
    "StepBatch",
    "TOKENS_CPU",
    "TOKENS_GPU",
    "TrainedGroup",
    "asked_of",
    "check_adapter",
    "check_diffs",
    "firing_rates",
    "questions_of",
    "step_batches",
    "task_losses",
    "train_adapter",
    "train_diffs",
    "train_group",
    "train_together",
]
