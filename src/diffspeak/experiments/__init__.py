"""Experiments: studies and tables of methods on held-out finetunes, from TOML files."""

from diffspeak.experiments.config import ExperimentConfig, JudgeConfig, RowConfig, StudyConfig
from diffspeak.experiments.read import load_config, load_experiments
from diffspeak.experiments.report import write_report
from diffspeak.experiments.run import run_experiments

__all__ = [
    "ExperimentConfig",
    "JudgeConfig",
    "RowConfig",
    "StudyConfig",
    "load_config",
    "load_experiments",
    "run_experiments",
    "write_report",
]
