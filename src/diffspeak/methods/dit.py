"""Through the adapter: base + finetune + adapter, asked what was changed. The method itself.

Takes finetunes, gives what the adapter says of each, or which of some labels it finds likeliest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.adapters import Adapter, Description, Interpreter
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.methods.method import Guess
from diffspeak.models import Base, Decoding
from diffspeak.scoring.scores import Pair
from diffspeak.text.messages import Message


@dataclass(frozen=True)
class DIT:
    """Diff Interpretation Tuning (arXiv 2510.05092).

    Attributes:
        base: Of finetunes and adapter; nothing attached.
        adapter: Trained on that base.
        question: What to ask; the adapter's first question if none is given.
        decoding: Greedy with 64 tokens by default.
    """

    base: Base
    adapter: Adapter
    question: str | None = None
    decoding: Decoding = Decoding()
    name: str = "DIT"

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """The description of each, with how sure the adapter is; see `Method`."""
        with Interpreter(self.base, self.adapter) as interpreter:
            told = interpreter.describe(finetunes, self.question, self.decoding)
        return [
            Guess(d.text, (f"{d.mean_logprob:.2f} nats/token, lift {d.lift:+.2f}",))
            if d.finite
            else Guess(None, (d.told,))
            for d in told
        ]


def described(
    base: Base, adapter: Adapter, finetunes: Sequence[Finetune], decoding: Decoding
) -> list[Description]:
    """Descriptions of the finetunes, and last what the adapter says with no diff at all."""
    with Interpreter(base, adapter) as interpreter:
        return interpreter.describe([*finetunes, NOTHING], decoding=decoding)


def likeliest(
    base: Base,
    adapter: Adapter,
    finetunes: Sequence[Finetune],
    labels: Sequence[str],
    batch_size: int = 256,
) -> list[Pair]:
    """For each finetune the one of these labels that the adapter gives the most probability.

    Args:
        base: Of finetunes and adapter.
        adapter: Is asked its first question.
        finetunes: With known labels.
        labels: All that there are to choose from.
        batch_size: Labels scored together.
    """
    question = (Message("user", adapter.questions[0]),)
    rendered = {label: base.chat.with_answer(question, label, learn_end=True) for label in labels}
    by_length = sorted(rendered, key=lambda label: len(rendered[label].ids))
    pairs = []
    with Interpreter(base, adapter) as interpreter:
        for finetune in finetunes:
            told = [(finetune, rendered[label]) for label in by_length]
            scores = [score.logprob for score in interpreter.engine.score(told, batch_size)]
            pairs.append((finetune.label or "", by_length[scores.index(max(scores))]))
    return pairs
