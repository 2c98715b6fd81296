"""PEFT LoRA folders: write a low-rank change as one, and read one back.

Takes and gives a `Diff`. What is written is read by `peft` itself; what is read must be a plain
LoRA. Anything else that PEFT can put in a folder is refused by name: nothing is silently dropped.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, field_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.files import atomic_path, read_json, write_json
from diffspeak.lora import Diff, LowRank
from diffspeak.store import system_errors

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
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
)


class _Scales(BaseModel):
    """What of a LoRA's config says how much its factors count."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    r: PositiveInt
    lora_alpha: float
    rank_pattern: dict[str, PositiveInt] | None = None
    alpha_pattern: dict[str, float] | None = None
    use_rslora: bool = False

    @field_validator("rank_pattern", "alpha_pattern")
    @classmethod
    def _are_patterns(cls, patterns: dict[str, float] | None) -> dict[str, float] | None:
        for pattern in patterns or {}:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no pattern") from error
        return patterns

    def scaling(self, name: str, A: Tensor) -> float:
        """What a module's product is multiplied with; a ValueError if its rank is another."""
        rank = _by_pattern(name, self.rank_pattern or {}, self.r)
        alpha = _by_pattern(name, self.alpha_pattern or {}, self.lora_alpha)
        if rank != A.shape[0]:
            raise ValueError(f"the config says rank {rank:g}, the tensor has {A.shape[0]}")
        return alpha / (rank**0.5 if self.use_rslora else rank)


def write_peft(folder: Path, diff: Diff, base_name: str, *, transposed: bool = False) -> None:
    """Write a change as a PEFT LoRA folder.

    Args:
        folder: Exists already; the two files are written into it, weights first.
        diff: Not stacked; all modules of one rank and scaling.
        base_name: Hub id or folder of the base, as `peft` records it.
        transposed: The base's linears store their weights `[in, out]` (GPT-2).

    Raises:
        ValueError: The changes are not of one rank and scaling, or there are none.
    """
    if len({(change.rank, change.scaling, change.is_stack) for change in diff.values()}) != 1:
        raise ValueError("a PEFT folder takes changes of one rank and scaling; pad or fold them")
    tensors: dict[str, Tensor] = {}
    for name, change in diff.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = change.A.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = change.B.contiguous()
    with atomic_path(folder / WEIGHTS) as path, system_errors():
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
    if not isinstance(config, dict):
        raise CorruptFileError(f"{folder / CONFIG} is no config of an adapter; write it again")
    _check_config(folder, config)
    try:
        scales = _Scales.model_validate(config)
    except ValidationError as error:
        faults = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise CorruptFileError(
            f"{folder / CONFIG} lacks or garbles {faults}; write it again"
        ) from error
    try:
        tensors = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"{folder / WEIGHTS} cannot be read ({error}); fetch or write it again"
        ) from error
    return _assemble(folder, scales, tensors)


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


def _assemble(folder: Path, scales: _Scales, tensors: Mapping[str, Tensor]) -> Diff:
    """Pair A and B of each module; every tensor is used or the folder is refused."""
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise UsageError(f"{folder / WEIGHTS} holds {key}, which is no factor of a plain LoRA")
        if tensor.dim() != 2:
            raise CorruptFileError(
                f"{folder / WEIGHTS} holds {key} with {tensor.dim()} axes, not 2"
            )
        sides.setdefault(match["module"], {})[match["side"]] = tensor
    diff: Diff = {}
    for name, pair in sides.items():
        if set(pair) != {"A", "B"}:
            raise CorruptFileError(f"{folder / WEIGHTS} holds only half of the factors of {name}")
        try:
            diff[name] = LowRank(pair["A"], pair["B"], scales.scaling(name, pair["A"]))
        except ValueError as error:
            raise CorruptFileError(f"{folder / WEIGHTS}, {name}: {error}") from error
        if not (pair["A"].isfinite().all() and pair["B"].isfinite().all()):
            raise CorruptFileError(f"{folder / WEIGHTS}, {name}: holds numbers that are not finite")
    if not diff:
        raise CorruptFileError(f"{folder / WEIGHTS} holds no tensors")
    return diff


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
