"""Weight-to-text: a learned projection makes soft tokens of a diff, the frozen base reads them."""

from diffspeak.methods.weight_to_text.method import WeightToText
from diffspeak.methods.weight_to_text.projection import WeightToTextConfig
from diffspeak.methods.weight_to_text.saved import (
    Projection,
    load_projection,
    save_projection,
)
from diffspeak.methods.weight_to_text.train import (
    check_projection,
    train_weight_to_text,
)

__all__ = [
    "Projection",
    "WeightToText",
    "WeightToTextConfig",
    "check_projection",
    "load_projection",
    "save_projection",
    "train_weight_to_text",
]
