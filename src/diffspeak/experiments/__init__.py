"""Experiments: tables of methods tried on held-out finetunes, with figures, from TOML files."""

from diffspeak.experiments.config import ExperimentConfig, JudgeConfig, RowConfig
from diffspeak.experiments.read import is_experiment, load_experiments
from diffspeak.experiments.report import write_report
from diffspeak.experiments.run import run_experiments

__all__ = [
    "ExperimentConfig",
    "JudgeConfig",
    "RowConfig",
    "is_experiment",
    "load_experiments",
    "run_experiments",
    "write_report",
]
