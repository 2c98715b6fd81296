"""PEFT LoRA folders: write a low-rank change as one, and read one back.

Takes and gives a `Diff`. What is written is read by `peft` itself; what is read must be a plain
LoRA, as a list of what a config may say knows it. `through_peft` reads the others.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.files import atomic_path, read_json, write_json
from diffspeak.finetunes.numbers import fault_of
from diffspeak.finetunes.patterns import check_patterns
from diffspeak.lora import Diff, LowRank
from diffspeak.store import system_errors

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")

_PLAIN: dict[str, Collection[Any] | None] = {
    **dict.fromkeys(("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora")),
    **dict.fromkeys(("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")),
    **dict.fromkeys(("base_model_name_or_path", "revision", "task_type", "inference_mode")),
    **dict.fromkeys(("auto_mapping", "peft_version", "megatron_core", "runtime_config")),
    # Of training and of initializations that leave the base as it is.
    **dict.fromkeys(("lora_dropout", "eva_config", "loftq_config", "corda_config")),
    **dict.fromkeys(("lora_ga_config", "qalora_group_size", "fan_in_fan_out")),
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}
"""What the config of a plain low-rank change may say: anything, or one of a few values. What it
says beyond this list has to be nothing: null, false or empty."""


class _Scales(BaseModel):
    """What of a LoRA's config says how much its factors count."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    r: PositiveInt
    lora_alpha: float
    rank_pattern: dict[str, PositiveInt] | None = None
    alpha_pattern: dict[str, float] | None = None
    use_rslora: bool = False

    def scaling(self, name: str, A: Tensor) -> float:
        """What a module's product is multiplied with; a ValueError if its rank is another."""
        rank = _by_pattern(name, self.rank_pattern or {}, self.r)
        alpha = _by_pattern(name, self.alpha_pattern or {}, self.lora_alpha)
        if rank != A.shape[0]:
            raise ValueError(f"the config says rank {rank:g}, the tensor has {A.shape[0]}")
        return alpha / (rank**0.5 if self.use_rslora else rank)


def write_peft(
    folder: Path,
    diff: Diff,
    base_name: str,
    *,
    transposed: bool = False,
    modules: Collection[str] = (),
) -> None:
    """Write a change as a PEFT LoRA folder.

    Args:
        folder: Exists already; the two files are written into it, weights first.
        diff: Not stacked. Modules may differ in rank and scaling.
        base_name: Hub id or folder of the base, as `peft` records it.
        transposed: The base's linears store their weights `[in, out]` (GPT-2).
        modules: All linears of the base. Where the ends of names (`q_proj`) tell which are
            changed, those are written, as servers expect them; without it, whole names.

    Raises:
        ValueError: There are no changes, or they are stacked.
    """
    if not diff or any(change.is_stack for change in diff.values()):
        raise ValueError("a PEFT folder takes one finetune's changes, and there must be some")
    tensors: dict[str, Tensor] = {}
    for name, change in diff.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = change.A.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = change.B.contiguous()
    with atomic_path(folder / WEIGHTS) as path, system_errors():
        save_file(tensors, path, metadata={"format": "pt"})
    first = next(iter(diff.values()))
    rank, alpha = first.rank, first.scaling * first.rank
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        rank_pattern={_exactly(n): c.rank for n, c in diff.items() if c.rank != rank},
        alpha_pattern={
            _exactly(name): change.scaling * change.rank
            for name, change in diff.items()
            if change.scaling * change.rank != alpha
        },
        target_modules=_targets(diff, modules),
        fan_in_fan_out=transposed,
        base_model_name_or_path=base_name,
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    write_json(folder / CONFIG, _plain(config.to_dict()))


def _targets(diff: Diff, modules: Collection[str]) -> list[str]:
    ends = {name.rpartition(".")[2] for name in diff}
    meant = {name for name in modules if name.rpartition(".")[2] in ends}
    return sorted(ends if meant == set(diff) else diff)


def _exactly(name: str) -> str:
    """A pattern for one module: PEFT allows anything before it, which no other name has."""
    return re.escape(name)


def read_peft(folder: Path) -> Diff:
    """Read a plain LoRA.

    Raises:
        UsageError: The folder is not a PEFT LoRA, or one of a kind that is not plain low-rank.
        CorruptFileError: Its weights are cut off, or do not fit its config.
    """
    config = read_config(folder)
    odd = oddities(config)
    if odd:
        raise UsageError(
            f"{folder} is no plain LoRA ({', '.join(odd)}); merge it into its base with peft first"
        )
    try:
        scales = _Scales.model_validate(config)
    except ValidationError as error:
        faults = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise CorruptFileError(
            f"{folder / CONFIG} lacks or garbles {faults}; write it again"
        ) from error
    return _assemble(folder, scales, read_weights(folder))


def is_peft(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter."""
    return (folder / CONFIG).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """The config of an adapter.

    Raises:
        CorruptFileError: It is not a JSON object, or a pattern in it is not fit to be matched.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise CorruptFileError(f"{folder / CONFIG} is no config of an adapter; write it again")
    try:
        check_patterns(config)
    except ValueError as error:
        raise CorruptFileError(f"{folder / CONFIG}: {error}; do not use it") from error
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of an adapter, of which every number is finite.

    Raises:
        UsageError: They are not stored as safetensors.
        CorruptFileError: The file is cut off, or holds numbers that are not finite.
    """
    path = folder / WEIGHTS
    if not path.is_file() and (folder / "adapter_model.bin").exists():
        raise UsageError(
            f"{folder} has no {WEIGHTS}: save it with safetensors; pickled weights could run code "
            "and are not opened"
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(
            f"{path} cannot be read ({error}); fetch or write it again"
        ) from error
    for key, tensor in tensors.items():
        fault = fault_of(tensor, whole_numbers=True)
        if fault:
            raise CorruptFileError(f"{path}, {key}: {fault}")
    return tensors


def oddities(config: Mapping[str, Any]) -> list[str]:
    """What a config says that makes it more than a plain low-rank change; empty if it is one."""
    return [
        f"{key}={value}" if isinstance(value, str | int | float) else key
        for key, value in {"peft_type": "missing", **config}.items()
        if not _is_plain(key, value)
    ]


def modules_of(tensors: Collection[str]) -> set[str] | None:
    """The modules that plain factors belong to; None if there is any other tensor."""
    matches = [_KEY.fullmatch(key) for key in tensors]
    if not all(matches):
        return None
    return {match["module"] for match in matches if match}


def check_targets(
    folder: Path, found: Collection[str], modules: Collection[str], linears: Collection[str]
) -> None:
    """Refuse a folder whose tensors are not those that its config targets in a base.

    Args:
        folder: Of the adapter.
        found: Modules that it has factors for, as its config names them.
        modules: All that a base could have factors for.
        linears: Those that "all-linear" means.

    Raises:
        CorruptFileError: The config names modules without factors, or factors without being named.
    """
    raw = read_config(folder)
    if raw.get("target_modules") is None:
        return
    known = LoraConfig.__dataclass_fields__
    try:
        config = LoraConfig(**{key: value for key, value in raw.items() if key in known})
        wanted = (
            set(linears)
            if raw["target_modules"] == "all-linear"
            else {name for name in modules if check_target_module_exists(config, name)}
        )
    except (TypeError, ValueError, AttributeError, re.error) as error:
        raise CorruptFileError(f"{folder / CONFIG} names no targets: {error}") from error
    for names, what in (
        (wanted - set(found), "is targeted by the config and has no tensors"),
        (set(found) - wanted, "has tensors and is not targeted by the config"),
    ):
        if names:
            raise CorruptFileError(
                f"{folder}: config and tensors disagree: {min(names)} {what} ({len(names)} such "
                "modules); save the adapter again"
            )


def _is_plain(key: str, value: Any) -> bool:
    if key not in _PLAIN:
        return not value
    allowed = _PLAIN[key]
    return allowed is None or value in allowed


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
