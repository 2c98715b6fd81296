"""Compute activations again in the backward pass instead of keeping them (gradient checkpointing).

Takes a model, gives a context. Of each block only what goes in is kept: a fraction of the memory,
for about a third more time (Chen et al., arXiv 1604.06174).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from diffspeak.errors import UsageError


@contextmanager
def recomputed(model: PreTrainedModel, wanted: bool = True) -> Iterator[None]:
    """Within this context passes through the model keep what goes into each block alone.

    The backward pass may come later; until then nothing that is attached may be changed.

    Args:
        model: Stays in evaluation mode but for its blocks' own switch.
        wanted: Otherwise nothing is done.

    Raises:
        UsageError: The family's blocks do not know how.
    """
    blocks = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if wanted and not blocks:
        raise UsageError(
            f"{type(model).__name__} cannot compute its activations again: leave checkpointing off"
        )
    before = [(block.training, block.gradient_checkpointing) for block in blocks]
    for block in blocks if wanted else ():
        again: Any = partial(checkpoint, use_reentrant=False)
        block._gradient_checkpointing_func = again
        # Not `train()`: what stands in the block shall go on without dropout.
        block.training = block.gradient_checkpointing = True
    try:
        yield
    finally:
        for block, (training, switched) in zip(blocks, before, strict=True):
            block.training, block.gradient_checkpointing = training, switched
