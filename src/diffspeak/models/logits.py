"""Logits at the answer positions alone: nothing else is scored, so nothing else is computed.

Takes a model and a batch of rendered conversations, gives `[answer token, vocabulary]`. The
family's own forward pass runs unchanged; only what reaches its head is cut down to the answer, so
whatever the family does behind the head (soft-capping, scaling) is done here too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from diffspeak.errors import UsageError
from diffspeak.models.chat import Rendered


@dataclass(frozen=True)
class Batch:
    """Conversations padded on the right.

    Attributes:
        ids: `[row, token]`, int64.
        attention: `[row, token]`, 1 where a token is real.
        predicts: `[row, token]`, True where the *next* token is an answer token.
        targets: `[answer token]`, the ids predicted there, row by row.
        rows: `[answer token]`, the row each of them stands in.
        places: `[answer token]`, where each is predicted, counted through all rows.
    """

    ids: Tensor
    attention: Tensor
    predicts: Tensor
    targets: Tensor
    rows: Tensor
    places: Tensor

    def to(self, device: torch.device | str) -> "Batch":
        """Move all tensors."""
        return Batch(*(part.to(device, non_blocking=True) for part in vars(self).values()))


def make_batch(conversations: Sequence[Rendered], pad_id: int) -> Batch:
    """Pad conversations on the right and mark what is predicted where.

    The last token of a conversation predicts nothing that is scored, so it is left out when no
    answer token follows it.
    """
    longest = max(c.answer_end for c in conversations) - 1
    ids = torch.full((len(conversations), longest), pad_id)
    attention = torch.zeros_like(ids)
    predicts = torch.zeros_like(ids, dtype=torch.bool)
    targets: list[int] = []
    for row, c in enumerate(conversations):
        length = c.answer_end - 1
        ids[row, :length] = torch.tensor(c.ids[:length])
        attention[row, :length] = 1
        predicts[row, c.prompt_length - 1 : length] = True
        targets += c.ids[c.prompt_length : c.answer_end]
    places = predicts.flatten().nonzero()[:, 0]
    return Batch(ids, attention, predicts, torch.tensor(targets), places // longest, places)


def answer_logits(
    model: PreTrainedModel, batch: Batch, forward: Callable[..., Any] | None = None
) -> Tensor:
    """Logits where the next token is an answer token.

    Args:
        model: Any causal LM.
        batch: On the model's device.
        forward: What to call instead of the model itself, such as a functional call of it with
            other parameters; it must run the model's own modules.

    Returns:
        `[answer token, vocabulary]` in the model's dtype, in the order of `batch.targets`; equal
        to `model(...).logits[batch.predicts]`.
    """

    def keep_answers(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        every = args[0].flatten(0, -2)
        return (every.index_select(0, batch.places.to(every.device))[None], *args[1:])

    check_length(model, batch.ids.shape[1])
    hook = head_of(model).register_forward_pre_hook(keep_answers)
    try:
        # No mask: padding stands on the right, where nothing that is scored can look, and
        # attention that is causal and nothing else has faster kernels.
        out = (forward or model)(input_ids=batch.ids, use_cache=False)
    finally:
        hook.remove()
    logits: Tensor = out.logits[0]
    return logits


def check_length(model: PreTrainedModel, tokens: int) -> None:
    """Refuse rows that are longer than the model has positions.

    Raises:
        UsageError: They are.
    """
    limit = _positions(model)
    if limit is not None and tokens > limit:
        raise UsageError(
            f"a conversation of {tokens} tokens is longer than the {limit} positions of "
            f"{type(model).__name__}: shorten the text or the answer"
        )


def check_answer(model: PreTrainedModel, tokens: int, setting: str) -> None:
    """Refuse answers that no prompt leaves room for, before anything is made that they are for.

    Args:
        model: Any.
        tokens: Longest answer.
        setting: What that is called in configs.

    Raises:
        UsageError: They are longer than the model has positions.
    """
    limit = _positions(model)
    if limit is not None and tokens >= limit:
        raise UsageError(
            f"{setting} = {tokens}: {type(model).__name__} has {limit} positions for prompt and "
            "answer together; lower it"
        )


def _positions(model: PreTrainedModel) -> int | None:
    """How many tokens a model can read; None where nothing limits that."""
    config = model.config.get_text_config(decoder=True)
    limit: int | None = getattr(config, "max_position_embeddings", None)
    return limit


def head_of(model: PreTrainedModel) -> nn.Module:
    """The module that maps hidden states to the vocabulary."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        raise TypeError(f"{type(model).__name__} is not a language model: it has no output head")
    return head
