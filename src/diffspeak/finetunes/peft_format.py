"""PEFT LoRA folders: write a low-rank change as one, and read one back.

Takes and gives a `Diff`. What is written is read by `peft` itself; what is read must be a plain
LoRA. Anything else that PEFT can put in a folder is refused by name: nothing is silently dropped.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.files import atomic_path, read_json, write_json
from diffspeak.lora import Diff, LowRank

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_UNSUPPORTED = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
)


def write_peft(folder: Path, diff: Diff, base_name: str, *, transposed: bool = False) -> None:
    """Write a change as a PEFT LoRA folder.

    Args:
        folder: Exists already; the two files are written into it, weights first.
        diff: Not stacked; all modules of one rank and scaling.
        base_name: Hub id or folder of the base, as `peft` records it.
        transposed: The base's linears store their weights `[in, out]` (GPT-2).
    """
    tensors: dict[str, Tensor] = {}
    for name, change in diff.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = change.A.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = change.B.contiguous()
    with atomic_path(folder / WEIGHTS) as path:
        save_file(tensors, path, metadata={"format": "pt"})
    like = next(iter(diff.values()))
    config = LoraConfig(
        r=like.rank,
        lora_alpha=like.scaling * like.rank,  # type: ignore[arg-type]
        target_modules=sorted(diff),
        fan_in_fan_out=transposed,
        base_model_name_or_path=base_name,
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    write_json(folder / CONFIG, _plain(config.to_dict()))


def read_peft(folder: Path) -> Diff:
    """Read a plain LoRA.

    Raises:
        UsageError: The folder is not a PEFT LoRA, or one of a kind that is not plain low-rank.
        CorruptFileError: Its weights are cut off, or do not fit its config.
    """
    config = read_json(folder / CONFIG)
    _check_config(folder, config)
    try:
        tensors = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"{folder / WEIGHTS} cannot be read ({error}); fetch or write it again"
        ) from error
    return _assemble(folder, config, tensors)


def is_peft(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (folder / CONFIG).is_file()


def _check_config(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise UsageError(f"{folder} is a PEFT adapter of type {kind}; only LORA can be read")
    odd = [key for key in _UNSUPPORTED if config.get(key)]
    if config.get("bias", "none") != "none":
        odd.append("bias")
    if config.get("init_lora_weights", True) not in (True, False, "gaussian"):
        odd.append(f"init_lora_weights={config['init_lora_weights']}")
    if odd:
        raise UsageError(
            f"{folder} is no plain LoRA ({', '.join(odd)}); merge it into its base with peft first"
        )


def _assemble(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Diff:
    """Pair A and B of each module; every tensor is used or the folder is refused."""
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise UsageError(f"{folder / WEIGHTS} holds {key}, which is no factor of a plain LoRA")
        sides.setdefault(match["module"], {})[match["side"]] = tensor
    diff: Diff = {}
    for name, pair in sides.items():
        if set(pair) != {"A", "B"}:
            raise CorruptFileError(f"{folder / WEIGHTS} holds only half of the factors of {name}")
        try:
            diff[name] = LowRank(pair["A"], pair["B"], _scaling(name, pair["A"], config))
        except ValueError as error:
            raise CorruptFileError(f"{folder / WEIGHTS}, {name}: {error}") from error
        if not (pair["A"].isfinite().all() and pair["B"].isfinite().all()):
            raise CorruptFileError(f"{folder / WEIGHTS}, {name}: holds numbers that are not finite")
    if not diff:
        raise CorruptFileError(f"{folder / WEIGHTS} holds no tensors")
    return diff


def _scaling(name: str, A: Tensor, config: Mapping[str, Any]) -> float:
    rank = _by_pattern(name, config.get("rank_pattern") or {}, config["r"])
    alpha = _by_pattern(name, config.get("alpha_pattern") or {}, config["lora_alpha"])
    if rank != A.shape[0]:
        raise ValueError(f"the config says rank {rank}, the tensor has {A.shape[0]}")
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _by_pattern(name: str, patterns: Mapping[str, Any], default: float) -> float:
    """Look a module up as PEFT does: the first pattern that is a regex for the name's end."""
    for pattern, value in patterns.items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            return float(value)
    return default


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """A PEFT config as JSON: sets become lists."""
    return {
        key: sorted(value) if isinstance(value, set) else value for key, value in config.items()
    }
