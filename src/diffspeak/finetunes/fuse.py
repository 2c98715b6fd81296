"""A finetune and an adapter as one thing that others can load: a PEFT LoRA, or a full checkpoint.

Takes finetunes, changes and a base, gives changes or folders.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from diffspeak.errors import UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.io.files import new_folder, read_bytes, read_json
from diffspeak.lora import Diff, LowRank, concatenate
from diffspeak.models import (
    Base,
    load_tokenizer,
    plain_shapes,
    plain_tensors,
    stored_dtype,
    whole,
)

CONFIG, GENERATION = "config.json", "generation_config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
KEPT = (GENERATION, "chat_template.jinja")
"""What is copied as it is."""


class Merged(NamedTuple):
    """How a merged checkpoint was written.

    Attributes:
        dtype: Of its numbers.
        brought: What of it is the finetune's own, beside the weights.
    """

    dtype: str
    brought: tuple[str, ...]


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


def write_merged(
    base: Base,
    finetune: Finetune,
    adapter: Diff,
    folder: Path,
    *,
    brought: Path | None = None,
    dtype: torch.dtype | None = None,
) -> Merged:
    """Write base + finetune + adapter as an ordinary Hugging Face folder, whole or not at all.

    Args:
        base: Nothing attached, not quantized.
        finetune: Of any kind.
        adapter: Added on top; may be empty.
        folder: Must not be there yet.
        brought: Where the finetune's tokenizer, chat template and generation config lie, if it
            brought any; they take the place of the base's.
        dtype: Of the numbers that are written; by default what a whole finetune is stored in, else
            what the base is.

    Raises:
        UsageError: The folder is there, or the base is quantized, or the tokenizer is broken.
        DiffspeakError: The system refused to write.
    """
    if base.fingerprint.linears is None:
        raise UsageError(f"{base.name} is quantized and cannot be merged into; load it in bfloat16")
    chosen = dtype or _dtype_of(finetune) or stored_dtype(base)
    tokenizer, files = companions(brought)
    state = _merged(base, finetune, adapter)
    with new_folder(folder) as temporary, _untied(base, state), whole(base.model, state):
        base.model.save_pretrained(temporary, state_dict=_stored(base, chosen))
        _say_dtype(temporary / CONFIG, chosen)
        (tokenizer or base.tokenizer).save_pretrained(temporary)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
    kept = ["tokenizer"] * (tokenizer is not None) + sorted(files)
    return Merged(str(chosen).removeprefix("torch."), tuple(kept))


def _dtype_of(finetune: Finetune) -> torch.dtype | None:
    """What most numbers of a whole finetune are stored in; None for a low-rank one."""
    counts: Counter[torch.dtype] = Counter()
    for tensor in finetune.parameters.values():
        counts[tensor.dtype] += tensor.numel()
    return counts.most_common(1)[0][0] if counts else None


def _stored(base: Base, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's tensors in a dtype; what is tied stays one tensor."""
    made: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, tensor in base.model.state_dict().items():
        if not tensor.is_floating_point():
            state[name] = tensor
            continue
        key = tensor.data_ptr()
        if key not in made:
            made[key] = tensor.to(dtype)
        state[name] = made[key]
    return state


def _say_dtype(path: Path, dtype: torch.dtype) -> None:
    """Have a model's config name the dtype that was written, for each of its parts."""

    def named(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        name = str(dtype).removeprefix("torch.")
        return {key: name if key == "dtype" else named(value) for key, value in part.items()}

    path.write_text(json.dumps(named(read_json(path)), indent=2, sort_keys=True) + "\n")


def companions(folder: Path | None) -> tuple[PreTrainedTokenizerBase | None, dict[str, bytes]]:
    """What a finetune brought along: its tokenizer, and its own template and generation config.

    Raises:
        UsageError: The tokenizer cannot be loaded without running code, or is broken.
        CorruptFileError: The generation config is not JSON.
    """
    if folder is None or not folder.is_dir():
        return None, {}
    tokenizer = None
    if any((folder / name).is_file() for name in TOKENIZERS):
        tokenizer = load_tokenizer(str(folder))
    files = {name: read_bytes(folder / name) for name in KEPT if (folder / name).is_file()}
    if GENERATION in files:
        read_json(folder / GENERATION)
    return tokenizer, files


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
