"""PEFT adapters that are more than plain low-rank: PEFT itself merges them into the base.

Takes a folder and a base, gives the parameters that the adapter changes, as PEFT computes them.
Only kinds whose effect is a change of weights, all of it in the folder, go this way; the others
are refused by name. The base is left as it is: PEFT is given a copy of it that shares its memory.
"""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from torch import Tensor

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes.bare_peft import without_bitsandbytes
from diffspeak.finetunes.peft_format import CONFIG, WEIGHTS, oddities, read_config, read_weights
from diffspeak.models import Base, plain_copy, plain_tensors

KINDS = (
    *("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "VERA", "OFT", "HRA", "LN_TUNING"),
    *("FOURIERFT", "RANDLORA", "C3A", "MISS", "SHIRA", "TRAINABLE_TOKENS"),
)
"""Types that are merged."""

LORA_PARTS = (
    *("use_dora", "lora_bias", "bias", "modules_to_save", "trainable_token_indices"),
    *("target_parameters", "ensure_weight_tying"),
)
"""What a LoRA may have beside its factors."""

CHANGE_BASE = ("pissa", "olora")
"""Initializations that subtract from the base what the factors begin with, by the base alone.
Others draw at random (PiSSA by iteration), or need data or a quantization that no folder holds
(CorDA, LoftQ, LoRA-GA)."""

FAILURES = (
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(ImportError, OSError, re.error),
)
"""What peft raises for a config or tensors that it cannot use."""


def merged_by_peft(folder: Path, base: Base) -> dict[str, Tensor]:
    """The parameters that an adapter changes, by the base's names for them.

    Args:
        folder: A PEFT adapter with safetensors.
        base: Not quantized; attached to or not.

    Raises:
        UsageError: It is of a kind that cannot be merged.
        CorruptFileError: A tensor of it is not used, or missing, or not finite.
        MismatchError: It does not fit the base.
    """
    config = read_config(folder)
    _check(folder, config, base)
    tensors = read_weights(folder)
    writes = _changes_base(config) or config.get("bias", "none") != "none"
    copied = plain_copy(base.model, shared=not writes)
    before = plain_tensors(base.model)
    try:
        with warnings.catch_warnings(), without_bitsandbytes():
            warnings.simplefilter("ignore")
            peft = PeftModel.from_pretrained(copied, str(folder))
            _check_used(folder, tensors, get_peft_model_state_dict(peft))
            merged: Any = peft.merge_and_unload(safe_merge=True)
    except FAILURES as error:
        reason = " ".join(str(error).split())[:300]
        raise MismatchError(
            f"{folder} cannot be merged into {base.name} by peft: {reason}; give the base it was "
            "made from"
        ) from error
    after = plain_tensors(merged)
    if after.keys() != before.keys():
        stranger = min(after.keys() ^ before.keys())
        raise UsageError(f"{folder} adds or removes {stranger}: it is not a change of weights")
    return _changed(before, after)


def _check(folder: Path, config: Mapping[str, Any], base: Base) -> None:
    kind = config.get("peft_type")
    if kind not in KINDS:
        raise UsageError(
            f"{folder} is a PEFT adapter of type {kind}, which is no change of weights that "
            f"peft can merge; those of type {', '.join(KINDS)} are"
        )
    if base.fingerprint.linears is None:
        raise UsageError(
            f"{folder} is no plain LoRA ({', '.join(oddities(config))}): it cannot be put on a "
            "quantized base; load the base in bfloat16"
        )
    if kind != "LORA":
        return
    known = (*LORA_PARTS, "init_lora_weights")
    odd = [what for what in oddities(config) if what.partition("=")[0] not in known]
    if not _changes_base(config):
        odd += [what for what in oddities(config) if what.startswith("init_lora_weights=")]
    if odd:
        raise UsageError(
            f"{folder} cannot be opened: {', '.join(odd)} needs more than the folder holds; merge "
            "it into its base with peft where it was trained, and give the merged checkpoint"
        )


def _changes_base(config: Mapping[str, Any]) -> bool:
    """Whether the initialization changes the base, in a way that can be done again."""
    return str(config.get("init_lora_weights")).lower() in CHANGE_BASE


def _check_used(folder: Path, tensors: Mapping[str, Tensor], loaded: Mapping[str, Tensor]) -> None:
    """Refuse an adapter of which peft took only a part, or made up a part."""
    for key, tensor in tensors.items():
        if key not in loaded:
            raise CorruptFileError(
                f"{folder / WEIGHTS} holds {key}, which peft does not use with {folder / CONFIG} "
                "on this base: config and tensors disagree, or the base is another"
            )
        if not torch.equal(loaded[key].cpu(), tensor.to(loaded[key].dtype)):
            raise CorruptFileError(f"{folder / WEIGHTS}: peft did not take over {key}")
    missing = sorted(key for key in loaded if key not in tensors)
    if missing:
        raise CorruptFileError(
            f"{folder / WEIGHTS} lacks {missing[0]}, which {folder / CONFIG} names; save it again"
        )


def _changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What differs; of parameters that the base ties, all if one does."""
    differing = {
        before[name].data_ptr()
        for name, tensor in after.items()
        if not torch.equal(tensor, before[name])
    }
    return {name: tensor for name, tensor in after.items() if before[name].data_ptr() in differing}
