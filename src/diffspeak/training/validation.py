"""Let the adapter describe finetunes whose label is known: loss, exact rate, examples.

Where there is no loss, tells why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.errors import DiffspeakError
from diffspeak.inference import Ask, Engine
from diffspeak.lora import Attachment
from diffspeak.models import Base, Decoding
from diffspeak.text.mentions import same
from diffspeak.text.messages import Message
from diffspeak.training.examples import Example, Finetunes


@dataclass(frozen=True)
class Validation:
    """How well labels are told.

    Attributes:
        loss: Mean over finetunes of the label's negative log-probability, nats a token.
        exact: Share of finetunes named exactly, case and punctuation aside.
        pairs: (label, description) of each.
    """

    loss: float
    exact: float
    pairs: list[tuple[str, str]]


def validate(
    base: Base,
    attachment: Attachment,
    examples: Sequence[Example],
    finetunes: Finetunes,
    decoding: Decoding,
) -> Validation:
    """Ask each example its first question, greedily, and compare with its label."""
    engine = Engine(base, attachment=attachment)
    losses: list[float] = []
    pairs: list[tuple[str, str]] = []
    for start in range(0, len(examples), decoding.batch_size):
        part = examples[start : start + decoding.batch_size]
        loaded = [finetunes.read(example) for example in part]
        asked = [(Message("user", example.questions[0]),) for example in part]
        told = [
            base.chat.with_answer(messages, example.label, learn_end=True)
            for messages, example in zip(asked, part, strict=True)
        ]
        losses += [-score.mean for score in engine.score(list(zip(loaded, told, strict=True)))]
        prompts = [base.chat.prompt(messages) for messages in asked]
        answers = engine.generate(list(map(Ask, loaded, prompts)), decoding)
        pairs += [(example.label, a.text) for example, a in zip(part, answers, strict=True)]
    exact = sum(same(label, text) for label, text in pairs) / len(pairs)
    return Validation(sum(losses) / len(losses), exact, pairs)


def why_not_finite(
    base: Base, attachment: Attachment, examples: Sequence[Example], finetunes: Finetunes, step: int
) -> DiffspeakError:
    """The error for a training loss that is not finite: finetunes that overflow, or the training.

    Args:
        base: Carries the attachment.
        attachment: With the adapter, which is switched off for this.
        examples: That the training saw last.
        finetunes: Theirs.
        step: At which it was noticed.
    """
    sick = []
    for example in dict.fromkeys(examples):
        told = base.chat.with_answer((Message("user", "?"),), example.label, learn_end=True)
        finetune = finetunes.read(example)
        with attachment.off(adapter=True):
            (score,) = Engine(base, attachment=attachment).score([(finetune, told)])
        if not math.isfinite(score.logprob):
            sick.append(f"{finetunes.stores[example.store].source}#{example.id}")
    if sick:
        more = f" and {len(sick) - 1} more" if len(sick) > 1 else ""
        return DiffspeakError(
            f"{sick[0]}{more} gives no finite numbers on this base (they overflow), so nothing can "
            "be learned from it: train on a store without it"
        )
    return DiffspeakError(
        f"the adapter's training diverged (at step {step} its loss is not finite); lower "
        "adapter.learning_rate and train it in another folder"
    )
