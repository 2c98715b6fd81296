"""Train the DIT adapter on stores of finetunes; load and save it."""

from diffspeak.adapter.ask import ask, mean_logprobs
from diffspeak.adapter.calibrated import Calibrations, save_calibrations
from diffspeak.adapter.calibration import Calibration, Counted, calibrate, check_enough
from diffspeak.adapter.config import AdapterConfig
from diffspeak.adapter.examples import Labels, asked_of, questions_of
from diffspeak.adapter.fits import check_adapter
from diffspeak.adapter.saved import (
    NOTHING_TAUGHT,
    Adapter,
    adopt,
    is_adapter,
    load_adapter,
    save_adapter,
)
from diffspeak.adapter.train import train_adapter

__all__ = [
    "Adapter",
    "AdapterConfig",
    "Labels",
    "Calibration",
    "Calibrations",
    "Counted",
    "NOTHING_TAUGHT",
    "adopt",
    "ask",
    "asked_of",
    "calibrate",
    "check_adapter",
    "check_enough",
    "is_adapter",
    "load_adapter",
    "mean_logprobs",
    "questions_of",
    "save_adapter",
    "save_calibrations",
    "train_adapter",
]
