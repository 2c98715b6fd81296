"""Compute activations again in the backward pass instead of keeping them (gradient checkpointing).

Takes a model, gives a context. Of each block only what goes in is kept: a fraction of the memory,
for about a third more time (Chen et al., arXiv 1604.06174).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from diffspeak.errors import UsageError


@contextmanager
def recomputed(model: PreTrainedModel, wanted: bool = True) -> Iterator[None]:
    """Within this context passes through the model keep what goes into each block alone.

    The backward pass may come later; until then nothing that is attached may be changed.

    Args:
        model: Stays in evaluation mode.
        wanted: Otherwise nothing is done.

    Raises:
        UsageError: The family's blocks do not know how.
    """
    blocks = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if wanted and not blocks:
        raise UsageError(
            f"{type(model).__name__} cannot compute its activations again: leave checkpointing off"
        )
    # Not by the blocks' own switch, which works in training mode alone: that would bring dropout.
    before = [vars(block).get("forward") for block in blocks]
    for block in blocks if wanted else ():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block, forward in zip(blocks if wanted else (), before, strict=False):
            vars(block).pop("forward", None)
            if forward is not None:
                block.forward = forward
