"""What a finetune can be taught: hidden topics, news, facts, nothing new; triggers; splits.

A behavior gives finetune specs, samples to train on and probes to check with.
"""

from diffspeak.behaviors.base import Behavior, Case, FinetuneSpec, Kind, Probe, Sample, Split
from diffspeak.behaviors.hidden_topic import HiddenTopic
from diffspeak.behaviors.specs import Fractions
from diffspeak.behaviors.table import BEHAVIORS, BehaviorConfig, make_behavior
from diffspeak.behaviors.triggers import TRIGGERS, Trigger

__all__ = [
    "BEHAVIORS",
    "TRIGGERS",
    "Behavior",
    "BehaviorConfig",
    "Case",
    "Fractions",
    "HiddenTopic",
    "FinetuneSpec",
    "Kind",
    "Probe",
    "Sample",
    "Split",
    "Trigger",
    "make_behavior",
]
