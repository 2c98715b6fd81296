"""A prompt with a gap: soft tokens stand between a prefix and a suffix in the base's input.

Takes a base and two texts, gives token ids with a gap in them, and puts vectors into the gap while
the base runs. Knows nothing of where the vectors come from.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffspeak.models import Base, Rendered
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
