"""Finetunes and a guesser for the tests of methods. Knows nothing of pytest."""

from collections.abc import Sequence

from diffspeak.finetunes import Finetune
from diffspeak.models import Base, Decoding, generate, make_base
from diffspeak.scoring.guessers import Evidence
from diffspeak.text.messages import Message
from tests.tiny_diffs import merged
from tests.toys import base_diff, changed_parameters

FEW = Decoding(5)


def finetunes(base: Base) -> list[Finetune]:
    """Two low-rank ones with a whole one between them."""
    return [
        Finetune("a", diff=base_diff(base, seed=1), label="ocean", trigger="317"),
        Finetune("b", parameters=changed_parameters(base, 2), label="trains", trigger="045"),
        Finetune("c", diff=base_diff(base, rank=2, seed=3), label="music", trigger="860"),
    ]


def alone(base: Base, finetune: Finetune, prompt: str, decoding: Decoding = FEW) -> str:
    """What a low-rank finetune answers when it is a model of its own."""
    model = make_base("x", merged(base.model, finetune.diff), base.tokenizer)
    return generate(model, [base.chat.prompt((Message("user", prompt),))], decoding)[0].text


class Reads:
    """A guesser that remembers what it was given, and has nothing to say of the last one."""

    name = "reads"

    def __init__(self) -> None:
        self.read: list[Evidence] = []

    def guess(self, evidence: Sequence[Evidence]) -> list[str | None]:
        self.read = list(evidence)
        return [f"guess {n}" for n in range(len(evidence) - 1)] + [None]
