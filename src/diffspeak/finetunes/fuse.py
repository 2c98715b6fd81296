"""A finetune and an adapter as one thing that others can load: a PEFT LoRA, or a full checkpoint.

Takes finetunes, changes and a base, gives changes or folders.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from diffspeak.errors import UsageError
from diffspeak.files import new_folder
from diffspeak.finetunes.finetune import Finetune
from diffspeak.lora import Diff, LowRank, concatenate
from diffspeak.models import Base, plain_shapes, plain_tensors, whole


def fuse(finetune: Finetune, adapter: Diff) -> Diff:
    """The sum of a low-rank finetune and an adapter, of one rank in all modules and scaling 1.

    Raises:
        UsageError: The finetune is not low-rank.
    """
    if finetune.whole:
        raise UsageError(
            f"{finetune.name} is not low-rank, so it does not fit into a LoRA; --merge writes "
            "finetune and adapter as a full checkpoint"
        )
    parts: dict[str, list[LowRank]] = {}
    for diff in (finetune.diff, adapter):
        for name, change in diff.items():
            parts.setdefault(name, []).append(change)
    joined = {name: concatenate(changes) for name, changes in parts.items()}
    rank = max(change.rank for change in joined.values())
    return {name: change.padded(rank) for name, change in joined.items()}


def write_merged(base: Base, finetune: Finetune, adapter: Diff, folder: Path) -> None:
    """Write base + finetune + adapter as an ordinary Hugging Face folder, whole or not at all.

    Args:
        base: Nothing attached, not quantized.
        finetune: Of any kind.
        adapter: Added on top; may be empty.
        folder: Must not be there yet.

    Raises:
        UsageError: The folder is there, or the base is quantized.
        DiffspeakError: The system refused to write.
    """
    if base.fingerprint.linears is None:
        raise UsageError(f"{base.name} is quantized and cannot be merged into; load it in bfloat16")
    state = _merged(base, finetune, adapter)
    with new_folder(folder) as temporary, _untied(base, state), whole(base.model, state):
        base.model.save_pretrained(temporary)
        base.tokenizer.save_pretrained(temporary)


def _merged(base: Base, finetune: Finetune, adapter: Diff) -> dict[str, Tensor]:
    shapes, own = plain_shapes(base.model), plain_tensors(base.model)
    state = dict(finetune.parameters)
    for diff in (finetune.diff, adapter):
        for name, change in diff.items():
            weight = f"{name}.weight"
            dense = change.float().dense()
            dense = dense.T if shapes[name].transposed else dense
            before = state.get(weight, own[weight])
            # In float32 until the end: what is added twice is rounded once.
            state[weight] = before.float() + dense.to(before.device)
    return {name: tensor.to(own[name].dtype) for name, tensor in state.items()}


@contextmanager
def _untied(base: Base, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Say in the config that head and embedding differ, where the finetune makes them differ."""
    config, own = base.model.config, plain_tensors(base.model)
    first: dict[int, Tensor] = {}
    loose = False
    for name, tensor in own.items():
        # As `whole` has it: the first name stands for all that have no tensor of their own.
        one = first.setdefault(tensor.data_ptr(), state.get(name, tensor))
        loose |= not torch.equal(state.get(name, one), one)
    before = config.tie_word_embeddings
    config.tie_word_embeddings = before and not loose
    try:
        yield
    finally:
        config.tie_word_embeddings = before
