"""Weight-to-text as a method: the diff becomes soft tokens, and the frozen base writes the guess.

Soft tokens stand in a gap between a prefix and a suffix of the base's input. The finetune itself
is never run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from diffspeak.finetunes import NOTHING, Finetune, seeds_of
from diffspeak.inference import Ask, Engine, check_finetunes
from diffspeak.methods.method import Guess
from diffspeak.methods.weight_to_text.projection import ProjectionTensors, soft_tokens, stacked
from diffspeak.methods.weight_to_text.saved import Projection
from diffspeak.models import Answer, Base, Decoding, Rendered
from diffspeak.text.messages import Message


@dataclass(frozen=True)
class SoftPrompt:
    """The prompt.

    Attributes:
        ids: Token ids; what stands in the gap is never looked at.
        start: Where the gap begins.
        tokens: How long it is.
    """

    ids: list[int]
    start: int
    tokens: int

    def with_answer(self, base: Base, answer: str) -> Rendered:
        """The prompt and an answer, ended by the end-of-turn token, which counts as answer."""
        told = base.chat.with_answer((Message("user", "?"),), answer, learn_end=True)
        ids = told.ids[told.prompt_length : told.answer_end]
        return Rendered([*self.ids, *ids], len(self.ids), len(self.ids) + len(ids))

    @contextmanager
    def filled(self, base: Base, vectors: Tensor) -> Iterator[None]:
        """Within this context the gap of each row holds its vectors.

        Args:
            base: Runs this prompt, not padded on the left, and what follows on it token by token.
            vectors: `[row, token, width]`, as what embeds tokens would give them.
        """

        def fill(_: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
            if out.shape[1] == 1:  # A token that follows, with the prompt in the cache.
                return out
            behind = out[:, self.start + self.tokens :]
            return torch.cat([out[:, : self.start], vectors.to(out), behind], 1)

        hook = base.model.get_input_embeddings().register_forward_hook(fill)
        try:
            yield
        finally:
            hook.remove()


def soft_prompt(base: Base, prefix: str, suffix: str, tokens: int) -> SoftPrompt:
    """Render the prompt.

    The gap is where the conversation differs when another word stands there, so that no chat
    template and no tokenizer has to be known.
    """
    one, other = (
        base.chat.prompt((Message("user", f"{prefix} {word} {suffix}".strip()),))
        for word in ("one", "two")
    )
    start = _alike(one, other)
    behind = _alike(one[start:][::-1], other[start:][::-1])
    gap = [base.chat.pad_id] * tokens
    return SoftPrompt([*one[:start], *gap, *one[len(one) - behind :]], start, tokens)


def _alike(one: list[int], other: list[int]) -> int:
    """How many tokens two lists begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


@dataclass(frozen=True)
class WeightToText:
    """The method.

    Attributes:
        base: Of the finetunes; nothing attached.
        projection: Trained on finetunes of that base.
        decoding: Greedy with 64 tokens by default.
    """

    base: Base
    projection: Projection
    decoding: Decoding = Decoding()
    name: str = "weight-to-text"

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """What the base reads in each diff; see `Method`."""
        answers = self.answers(finetunes)
        return [
            Guess(
                a.text if isfinite(a.mean_logprob) else None, (f"{a.mean_logprob:.2f} nats/token",)
            )
            for a in answers
        ]

    def answers(self, finetunes: Sequence[Finetune]) -> list[Answer]:
        """The same with each answer's mean log-probability as a number.

        Raises:
            MismatchError: Projection or finetune is of another base, or a finetune changes what
                the projection was not trained on.
            UsageError: A finetune is not low-rank.
        """
        self.projection.check(self.base)
        check_finetunes(self.base, finetunes)
        config, device = self.projection.config, self.base.device
        prompt = soft_prompt(self.base, config.prefix, config.suffix, config.tokens)
        tensors = {name: tensor.to(device) for name, tensor in self.projection.tensors.items()}
        return written(self.base, prompt, tensors, finetunes, self.decoding)


@torch.no_grad()
def written(
    base: Base,
    prompt: SoftPrompt,
    tensors: ProjectionTensors,
    finetunes: Sequence[Finetune],
    decoding: Decoding,
) -> list[Answer]:
    """What the base writes when it reads each finetune's soft tokens.

    Args:
        base: Nothing attached, or switched off.
        prompt: With a gap for the soft tokens.
        tensors: Of the projection, on the base's device.
        finetunes: Low-rank.
        decoding: Length, temperature, batch.
    """
    answers: list[Answer] = []
    for start in range(0, len(finetunes), decoding.batch_size):
        part = finetunes[start : start + decoding.batch_size]
        vectors = soft_tokens(tensors, stacked(tensors, part), len(part))
        asks = [Ask(NOTHING, prompt.ids, *seeds_of("read", 0, one, [""])) for one in part]
        with Engine(base) as engine, prompt.filled(base, vectors):
            answers += engine.generate(asks, decoding)
    return answers
