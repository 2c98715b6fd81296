"""Ways to a guess at what a finetune was taught: ask it directly, or through the adapter.

Takes finetunes with known labels, gives (truth, guess) pairs. More methods will stand here, each
a finetune -> guess.
"""

from collections.abc import Sequence

from diffspeak.adapter import Adapter, ask
from diffspeak.evaluate.scores import Pair
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.interpret import Description, Interpreter
from diffspeak.models import Base, Decoding, attach_to
from diffspeak.text.messages import Message


def direct_question(
    base: Base, finetunes: Sequence[Finetune], question: str, decoding: Decoding
) -> list[Pair]:
    """Ask each finetune itself, without the adapter ("base question" in the paper)."""
    attachment = attach_to(base.model)
    try:
        prompt = base.chat.prompt((Message("user", question),))
        answers = ask(base, attachment, finetunes, [prompt] * len(finetunes), decoding)
    finally:
        attachment.detach()
    return [(f.label or "", a.text) for f, a in zip(finetunes, answers, strict=True)]


def described(
    base: Base, adapter: Adapter, finetunes: Sequence[Finetune], decoding: Decoding
) -> list[Description]:
    """Descriptions of the finetunes, and last what the adapter says with no diff at all."""
    with Interpreter(base, adapter) as interpreter:
        return interpreter.describe([*finetunes, NOTHING], decoding=decoding)
