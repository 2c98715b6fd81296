"""Base + finetune + adapter -> descriptions, many different finetunes in one batch.

Takes finetunes, gives what the adapter says of each, how sure it is, and how much surer than
without the finetune. A high lift alone does not prove a claim; an audit checks it by behavior.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from diffspeak.adapters.calibration import GAINED, gained
from diffspeak.adapters.saved import Adapter
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune, seeds_of
from diffspeak.inference import Ask, Engine, check_finetunes
from diffspeak.models import Answer, Base, Decoding, Rendered
from diffspeak.text.mentions import normalize

NOTHING_FOUND = "nothing found"
"""What is told in place of a guess."""

NO_NUMBERS = "no finite numbers"
"""What is told in place of words that were chosen among numbers that are none."""

ALIKE = 1e-5
"""Nats a token: so near to the logarithm of the vocabulary's size no model comes that computes."""


class Description(NamedTuple):
    """What the adapter says of one finetune.

    Attributes:
        finetune: Its name.
        text: The description.
        mean_logprob: Of the description's tokens, end of turn included, in nats a token.
        lift: `mean_logprob` minus what the adapter gives the same words on the base alone.
        question: What was asked.
        probability: By the adapter's calibration: that the finetune was taught something it knows,
            at even odds. None without one, for a question that it was not made for, and where the
            finetune gives no numbers.
        found: Whether that counts as a find, which takes a word at least; None like it.
    """

    finetune: str
    text: str
    mean_logprob: float
    lift: float
    question: str
    probability: float | None = None
    found: bool | None = None

    @property
    def gained(self) -> float:
        """The lift as a difference of probabilities, by the token, -1 to 1."""
        return gained(self.mean_logprob, self.lift)

    @property
    def finite(self) -> bool:
        """Whether base, finetune and adapter gave numbers, without which the text is none."""
        return math.isfinite(self.mean_logprob) and math.isfinite(self.lift)

    @property
    def told(self) -> str:
        """The description, or `NOTHING_FOUND` where the calibration says that it is a guess."""
        if not self.finite:
            return NO_NUMBERS
        return NOTHING_FOUND if self.found is False else self.text


class Interpreter:
    """An adapter set on its base, ready to describe finetunes.

    Use it as a context manager, or call `close`, to take the adapter off the base again.

    Args:
        base: Of the finetunes and the adapter; nothing attached.
        adapter: Trained on that base.

    Raises:
        MismatchError: The adapter belongs to another base, or does not fit its linears.
    """

    def __init__(self, base: Base, adapter: Adapter) -> None:
        adapter.check(base)
        self.base, self.adapter = base, adapter
        self.engine = Engine(base, adapter.diff)

    def __repr__(self) -> str:
        """One line, without a tensor."""
        closed = ", closed" if self.engine.closed else ""
        return f"Interpreter(base {self.base.name!r}, adapter {self.adapter.name!r}{closed})"

    def __enter__(self) -> "Interpreter":
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Take the adapter off the base."""
        self.close()

    def close(self) -> None:
        """Take the adapter off the base."""
        self.engine.close()

    def describe(
        self,
        finetunes: Finetune | Iterable[Finetune],
        question: str | None = None,
        decoding: Decoding | None = None,
        *,
        seed: int = 0,
    ) -> list[Description]:
        """Describe one or many finetunes.

        Args:
            finetunes: One, or any number; read batch by batch if they are a generator.
            question: What to ask; the adapter's first question if none is given.
            decoding: Greedy with 64 tokens by default.
            seed: When sampling; what is drawn depends on it, on what the finetune changes, and on
                the question alone.

        Raises:
            MismatchError: A finetune is of another base.
            UsageError: The question is empty.
        """
        many = [finetunes] if isinstance(finetunes, Finetune) else finetunes
        return list(self.stream(many, question, decoding, seed=seed))

    def stream(
        self,
        finetunes: Iterable[Finetune],
        question: str | None = None,
        decoding: Decoding | None = None,
        *,
        seed: int = 0,
    ) -> Iterator[Description]:
        """Describe finetunes batch by batch, giving each as soon as it is there."""
        if self.engine.closed:
            raise UsageError("the interpreter is closed: its adapter is off the base; make another")
        question = self.adapter.questions[0] if question is None else question.strip()
        if not question:
            raise UsageError("the question is empty; ask something, or leave it out")
        decoding = decoding or Decoding()
        rest = iter(finetunes)
        while part := list(islice(rest, decoding.batch_size)):
            yield from self._batch(part, question, decoding, seed)

    def _batch(
        self, finetunes: Sequence[Finetune], question: str, decoding: Decoding, seed: int
    ) -> list[Description]:
        check_finetunes(self.base, finetunes)
        prompt = self.engine.prompt(question)
        asks = [
            Ask(
                one, prompt, seeds_of("describe", seed, one, [question])[0] if decoding.draws else 0
            )
            for one in finetunes
        ]
        answers = self.engine.generate(asks, decoding)
        own = [self._sure(answer) for answer in answers]
        without = self._without_finetune(prompt, answers)
        return [
            self._judged(Description(f.name, a.text, o, o - w, question))
            for f, a, o, w in zip(finetunes, answers, own, without, strict=True)
        ]

    def _sure(self, answer: Answer) -> float:
        """An answer's mean log-probability; NaN where every token was as likely as any other.

        Numbers that overflow inside of a model may come out of a norm as zeros.
        """
        vocabulary = self.base.model.config.get_text_config(decoder=True).vocab_size
        dead = abs(answer.mean_logprob + math.log(vocabulary)) < ALIKE
        return math.nan if dead else answer.mean_logprob

    def _judged(self, one: Description) -> Description:
        """A description with what the adapter's calibration says of it."""
        calibration = self.adapter.calibrations.describe
        known = one.question in self.adapter.questions and one.finite
        if calibration is None or not known:
            return one
        probability = calibration.probability({GAINED: one.gained})
        found = calibration.found(probability) and bool(normalize(one.text))
        return one._replace(probability=probability, found=found)

    def _without_finetune(self, prompt: list[int], answers: Sequence[Answer]) -> list[float]:
        """What the adapter on the base alone gives to the same tokens, nats a token."""
        same_tokens = [
            Rendered([*prompt, *a.ids], len(prompt), len(prompt) + len(a.ids)) for a in answers
        ]
        told = self.engine.score([(NOTHING, rendered) for rendered in same_tokens])
        return [score.mean for score in told]
