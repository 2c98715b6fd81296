"""A short adapter training, and ways to begin and to stop one, for the tests of this room."""

from diffspeak.lora import DiffLinear
from diffspeak.models import attach_to
from diffspeak.progress import Silent
from diffspeak.training import AdapterConfig
from diffspeak.training.adapter import AdapterObjective
from tests.toys import Recorder

CONFIG = AdapterConfig(
    rank=4,
    alpha=4.0,
    epochs=4,
    batch=2,
    learning_rate=1e-2,
    validations=2,
    save_every=5,
    answer_tokens=4,
)
STEPS = 12
"""Three batches of five finetunes, four times."""


def changed(**changes):
    return CONFIG.model_copy(update=changes)


def attached(base):
    return any(isinstance(module, DiffLinear) for module in base.model.modules())


def begun(base, store, folder, **changes):
    """A training before its first step, with the base carrying nothing yet."""
    attachment = attach_to(base.model)
    training = AdapterObjective(base, attachment, [store], changed(**changes), folder, Silent())
    training.prepare()
    return training


class Stops(Recorder):
    """Ctrl-C when so many steps are done."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def advance(self, count=1, **numbers):
        super().advance(count, **numbers)
        if count and self.advanced == self.at:
            raise KeyboardInterrupt
