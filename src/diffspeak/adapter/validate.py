"""Let the adapter describe finetunes whose label is known: loss, exact rate, examples."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.adapter.ask import ask, mean_logprobs
from diffspeak.adapter.examples import Example, Finetunes
from diffspeak.lora import Attachment
from diffspeak.models import Base, Decoding
from diffspeak.text.mentions import same
from diffspeak.text.messages import Message


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
        losses += [-value for value in mean_logprobs(base, attachment, loaded, told)]
        prompts = [base.chat.prompt(messages) for messages in asked]
        answers = ask(base, attachment, loaded, prompts, decoding)
        pairs += [(example.label, a.text) for example, a in zip(part, answers, strict=True)]
    exact = sum(same(label, text) for label, text in pairs) / len(pairs)
    return Validation(sum(losses) / len(losses), exact, pairs)
