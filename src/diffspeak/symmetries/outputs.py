"""Do two models answer alike, to their dtype's rounding?

Takes two models and token ids, gives how far apart their logits are. Knows nothing of symmetries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffspeak.errors import UsageError

DIGITS = 64
"""Last digits of the largest logit that sums in another order may come to, by the depth's root."""


@dataclass(frozen=True)
class Outputs:
    """How far apart two models' logits are.

    Attributes:
        unchanged: Whether no logit differs by more than rounding.
        largest: The largest difference of two logits.
        allowed: What rounding may come to.
    """

    unchanged: bool
    largest: float
    allowed: float


def outputs_unchanged(before: nn.Module, after: nn.Module, prompts: Sequence[Tensor]) -> Outputs:
    """Compare two models' logits on prompts.

    Args:
        before: A causal language model.
        after: Another, of the same vocabulary, dtype and device.
        prompts: Token ids of one prompt each, `[token]`.

    Raises:
        UsageError: There is no prompt.
    """
    if not prompts:
        raise UsageError("no prompts to compare outputs on: give one at least")
    first = next(before.parameters())
    depth = int(before.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
    with torch.no_grad():
        ours, theirs = (
            [model(prompt[None].to(first.device)).logits.double() for prompt in prompts]
            for model in (before, after)
        )
    return apart(ours, theirs, depth=depth, dtype=first.dtype)


def apart(
    before: Sequence[Tensor], after: Sequence[Tensor], *, depth: int, dtype: torch.dtype
) -> Outputs:
    """Compare logits that two models gave to the same prompts.

    Args:
        before: Logits, a tensor a prompt; one prompt at least.
        after: The same of the other model.
        depth: Blocks of the models.
        dtype: They computed in.
    """
    pairs = list(zip(before, after, strict=True))
    finite = all(bool(one.isfinite().all()) for pair in pairs for one in pair)
    largest = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    scale = max(float(ours.abs().max()) for ours, _ in pairs)
    allowed = DIGITS * depth**0.5 * torch.finfo(dtype).eps * scale
    return Outputs(finite and largest <= allowed, largest, allowed)
