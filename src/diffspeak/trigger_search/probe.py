"""How far a prompt moves a finetune away from its base, by the first tokens of the answer.

Takes prompts as text, gives nats and answers, and counts every row: one prompt read by one model.
With a claim the measure is its lift: the log-probability that the answer begins with the claim's
first tokens, less that of the base (or that of one in a thousand, if the base's is smaller).
Without one it is the divergence from the base at the first answer token. Knows nothing of triggers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import Ask, Engine
from diffspeak.models import Base, Batch, Decoding, Rendered
from diffspeak.text.messages import Message
from diffspeak.training.losses import kl

ROWS = 250
"""Prompts in one pass."""

CLAIM_TOKENS = 3
"""First tokens of a claim that are scored; more would weigh how an answer goes on."""

ANSWER_TOKENS = 16

UNLIKELY = -50.0
"""Nats; what is less likely, or no number, counts as this."""

FAINT = -7.0
"""Nats; how far below this the base is says nothing: there its figures vary with every word."""

KEPT_BYTES = 1 << 29
"""Of the base's distributions that are kept for the next finetune."""


class BaseSide:
    """What the base says, computed once and shared by the searches of many finetunes.

    Args:
        base: What they were made from.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.lifts: dict[tuple[str, tuple[int, ...]], float] = {}
        self.first: dict[str, Tensor] = {}
        self._prompts: dict[str, list[int]] = {}

    def prompt(self, text: str) -> list[int]:
        """Token ids of a prompt, rendered once."""
        if text not in self._prompts:
            self._prompts[text] = self.base.chat.prompt((Message("user", text),))
        return self._prompts[text]

    def keep(self, text: str, logprobs: Tensor) -> None:
        """Keep a distribution `[vocabulary]`, as long as there is room."""
        if (len(self.first) + 1) * logprobs.nbytes <= KEPT_BYTES:
            self.first[text] = logprobs


class TriggerProbe:
    """Asks one finetune and its base.

    Args:
        side: The base, and what it said before.
        engine: Of the base.
        finetune: What is asked.
        claim: What it is said to have been taught; None if that is not known.

    Attributes:
        rows: Prompts read so far by either model. What the base was asked for another finetune
            counts too, so that a budget reaches equally far for each.
        tail: First tokens of the claim; none without one.
    """

    def __init__(
        self, side: BaseSide, engine: Engine, finetune: Finetune, claim: str | None
    ) -> None:
        self.side, self.claim = side, claim
        self.rows = 0
        self._engine, self._finetune = engine, finetune
        self.tail = _first_tokens(side.base, claim) if claim is not None else ()

    def moved(self, texts: Sequence[str]) -> Tensor:
        """How far each prompt moves the finetune from the base, `[prompt]` in nats."""
        if self.claim is None:
            return self._divergence(texts)
        return self.likely(texts) - self._base_likely(texts).clamp_min(FAINT)

    def likely(self, texts: Sequence[str]) -> Tensor:
        """The finetune's log-probability of the claim, `[prompt]` in nats; the base is not asked.

        Without a claim it is the divergence from the base, who then is.
        """
        if self.claim is None:
            return self._divergence(texts)
        with self.on():
            return self._claim(texts)

    def answers(self, texts: Sequence[str], *, of_base: bool = False) -> list[str]:
        """Greedy answers, cut off early."""
        self.rows += len(texts)
        who = NOTHING if of_base else self._finetune
        asks = [Ask(who, self.side.prompt(text)) for text in texts]
        told = self._engine.generate(asks, Decoding(ANSWER_TOKENS, batch_size=ROWS))
        return [answer.text for answer in told]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Within this context the base is the finetune."""
        with self._engine.applied([self._finetune]):
            yield

    def logits_of(self, inputs: Tensor) -> Tensor:
        """Logits `[token, vocabulary]` of embeddings `[1, token, width]`, of what is on now."""
        return self._engine.logits_of(inputs)

    def _base_likely(self, texts: Sequence[str]) -> Tensor:
        known = self.side.lifts
        new = [text for text in dict.fromkeys(texts) if (text, self.tail) not in known]
        self.rows += len(texts) - len(new)
        for text, value in zip(new, self._claim(new).tolist(), strict=True):
            known[text, self.tail] = value
        return torch.tensor([known[text, self.tail] for text in texts])

    def _claim(self, texts: Sequence[str]) -> Tensor:
        """Log-probability that the answer begins with the claim, `[prompt]`."""
        found = torch.full((len(texts),), UNLIKELY)
        for rows, logits, batch in self._passes(texts, self.tail):
            token = logits.log_softmax(-1).gather(1, batch.targets[:, None])[:, 0]
            sums = torch.zeros(len(rows), device=token.device).index_add(0, batch.rows, token)
            found[rows] = sums.cpu().nan_to_num(UNLIKELY).clamp_min(UNLIKELY)
        return found

    def _divergence(self, texts: Sequence[str]) -> Tensor:
        """KL from finetune to base at the first answer token, `[prompt]`."""
        found = torch.zeros(len(texts))
        for start in range(0, len(texts), ROWS):
            part = texts[start : start + ROWS]
            plain = self._base_first(part)
            with self.on():
                own = self._first(part)
            found[start : start + ROWS] = kl(own, plain)[0].nan_to_num(0.0).cpu()
        return found

    def _base_first(self, texts: Sequence[str]) -> Tensor:
        known = self.side.first
        new = [text for text in dict.fromkeys(texts) if text not in known]
        self.rows += len(texts) - len(new)
        fresh = dict(zip(new, self._first(new).half(), strict=True)) if new else {}
        for text, logprobs in fresh.items():
            self.side.keep(text, logprobs)
        return torch.stack([fresh[t] if t in fresh else known[t] for t in texts]).float()

    def _first(self, texts: Sequence[str]) -> Tensor:
        """Log-probabilities of the first answer token, `[prompt, vocabulary]`."""
        parts = [torch.empty(0)] * len(texts)
        for rows, logits, _ in self._passes(texts, (self.side.base.chat.pad_id,)):
            for row, logprobs in zip(rows, logits.log_softmax(-1), strict=True):
                parts[row] = logprobs
        return torch.stack(parts)

    def _passes(
        self, texts: Sequence[str], tail: Sequence[int]
    ) -> Iterator[tuple[list[int], Tensor, Batch]]:
        """Rows of like length together: their places, logits `[token, vocabulary]`, and batch."""
        self.rows += len(texts)
        prompts = [self.side.prompt(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), ROWS):
            rows = order[start : start + ROWS]
            batch = self._engine.batch([_with_tail(prompts[i], tail) for i in rows])
            yield rows, self._engine.logits(batch), batch


def _with_tail(prompt: Sequence[int], tail: Sequence[int]) -> Rendered:
    return Rendered([*prompt, *tail], len(prompt), len(prompt) + len(tail))


def _first_tokens(base: Base, claim: str) -> tuple[int, ...]:
    """The first tokens of an answer that begins with the claim."""
    whole = base.chat.with_answer((Message("user", "?"),), claim, learn_end=False)
    return tuple(whole.ids[whole.prompt_length : whole.answer_end][:CLAIM_TOKENS])
