"""A short training of weight-to-text, for the tests of this package."""

from diffspeak.methods.weight_to_text import WeightToTextConfig

CONFIG = WeightToTextConfig(
    tokens=8,
    epochs=80,
    batch=5,
    module_dropout=0.0,
    learning_rate=5e-2,
    slow=1.0,
    save_every=5,
    answer_tokens=6,
)
STEPS = 80
"""One batch of five finetunes, eighty times."""


def changed(**changes):
    return CONFIG.model_copy(update=changes)
