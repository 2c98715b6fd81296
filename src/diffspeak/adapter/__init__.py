"""Train the DIT adapter on stores of finetunes; load and save it."""

from diffspeak.adapter.ask import ask, mean_logprobs
from diffspeak.adapter.config import AdapterConfig
from diffspeak.adapter.examples import questions_of
from diffspeak.adapter.saved import Adapter, adopt, is_adapter, load_adapter, save_adapter
from diffspeak.adapter.train import train_adapter

__all__ = [
    "Adapter",
    "AdapterConfig",
    "adopt",
    "ask",
    "is_adapter",
    "load_adapter",
    "mean_logprobs",
    "questions_of",
    "save_adapter",
    "train_adapter",
]
