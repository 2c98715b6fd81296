"""Whole experiments: their config, read and checked, and the base they start from."""

from diffspeak.study.bases import load_study_base
from diffspeak.study.config import (
    AdapterStudyConfig,
    BaseConfig,
    EvaluateConfig,
    ItemsConfig,
    StudyConfig,
)
from diffspeak.study.read import load_config

__all__ = [
    "AdapterStudyConfig",
    "BaseConfig",
    "EvaluateConfig",
    "ItemsConfig",
    "StudyConfig",
    "load_config",
    "load_study_base",
]
