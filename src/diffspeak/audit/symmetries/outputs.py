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
    largest = scale = 0.0
    finite = True
    with torch.no_grad():
        for prompt in prompts:
            ids = prompt[None].to(first.device)
            ours, theirs = (model(ids).logits.double() for model in (before, after))
            largest = max(largest, (ours - theirs).abs().max().item())
            scale = max(scale, ours.abs().max().item())
            finite = finite and bool(ours.isfinite().all() and theirs.isfinite().all())
    allowed = DIGITS * depth**0.5 * torch.finfo(first.dtype).eps * scale
    return Outputs(finite and largest <= allowed, largest, allowed)
