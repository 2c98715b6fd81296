"""Train finetunes, many at once, and the adapter that describes them."""

from diffspeak.training.adapter import train_adapter
from diffspeak.training.adapter_config import AdapterConfig
from diffspeak.training.adapter_fits import check_adapter
from diffspeak.training.batches import TOKENS_CPU, TOKENS_GPU, StepBatch, step_batches
from diffspeak.training.descent import Trained, train_group
from diffspeak.training.diff_config import DiffConfig
from diffspeak.training.diffs import check_diffs, train_diffs
from diffspeak.training.examples import Labels, asked_of, questions_of
from diffspeak.training.losses import task_losses
from diffspeak.training.probing import firing_rates
from diffspeak.training.worker_pool import SMALL

__all__ = [
    "AdapterConfig",
    "DiffConfig",
    "Labels",
    "SMALL",
    "StepBatch",
    "TOKENS_CPU",
    "TOKENS_GPU",
    "Trained",
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
]
