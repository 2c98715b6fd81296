"""What a finetune can be taught: hidden topics, news, facts, nothing new; triggers; splits.

Takes corpus files, gives items with samples to train on and probes to check with.
Knows nothing of models.
"""

from diffspeak.behaviors.base import Behavior, Case, Item, Kind, Probe, Sample, Split
from diffspeak.behaviors.config import BehaviorConfig, make_behavior
from diffspeak.behaviors.hidden_topic import HiddenTopic
from diffspeak.behaviors.splits import Fractions
from diffspeak.behaviors.triggers import TRIGGERS, Trigger

__all__ = [
    "TRIGGERS",
    "Behavior",
    "BehaviorConfig",
    "Case",
    "Fractions",
    "HiddenTopic",
    "Item",
    "Kind",
    "Probe",
    "Sample",
    "Split",
    "Trigger",
    "make_behavior",
]
