"""The two files of a PEFT adapter, a config and tensors: read, checked, written.

What is written is read by `peft` itself. Whether an adapter is a plain LoRA, factors of linears and
nothing more, a list of what its config may say tells.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes.formats.peft_library import PEFT_TYPE_TO_CONFIG_MAPPING, LoraConfig
from diffspeak.finetunes.formats.peft_targets import by_module
from diffspeak.finetunes.tensors import check_tensors, load_pickle, read_safetensors
from diffspeak.io.files import atomic_path, read_json, write_json
from diffspeak.lora import Diff, LowRank
from diffspeak.store import system_errors

CONFIG = "adapter_config.json"
WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"

PREFIX = "base_model.model."
"""What stands before a module's name in an adapter's tensors."""

COMPILED = "_orig_mod."
"""What `torch.compile` puts into the names of a module that it wraps."""

FACTOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")

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


@dataclass(frozen=True)
class AdapterFiles:
    """An adapter as it lies in its folder.

    Attributes:
        folder: Where it lies.
        weights: The file with its tensors.
        config: What its config says.
        tensors: By the names that the file has for them, without those of a compiled model.
    """

    folder: Path
    weights: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]


def read_adapter(folder: Path) -> AdapterFiles:
    """Both files of a PEFT adapter.

    Raises:
        CorruptFileError: A file is missing, cut off or not an adapter's, or holds numbers that are
            not finite.
    """
    config = read_config(folder)
    path = next((p for p in (folder / WEIGHTS, folder / PICKLED) if p.is_file()), None)
    if path is None:
        raise CorruptFileError(
            f"{folder} has an {CONFIG} and no {WEIGHTS}: the adapter's weights are missing; fetch "
            "or save it again"
        )
    found = _read_pickled(path) if path.name == PICKLED else read_safetensors(path)
    tensors = {key.replace(COMPILED, ""): tensor for key, tensor in found.items()}
    if len(tensors) < len(found):
        raise CorruptFileError(f"{path} holds a tensor twice, once of a compiled model; save again")
    check_tensors(path, tensors.items())
    return AdapterFiles(folder, path, config, tensors)


def read_config(folder: Path) -> dict[str, Any]:
    """The config of an adapter.

    Raises:
        CorruptFileError: It is not a JSON object.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise CorruptFileError(f"{folder / CONFIG} is no config of an adapter; write it again")
    return config


def _read_pickled(path: Path) -> dict[str, Tensor]:
    content = load_pickle(path)
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in content.items()
    ):
        raise CorruptFileError(f"{path} is no table of tensors by name; save the adapter again")
    return content


def unknown_keys(config: Mapping[str, Any]) -> list[str]:
    """What a config says that means nothing to the peft that is installed, so that it is ignored.

    Of a kind of adapter that it does not know, nothing is.
    """
    kind = PEFT_TYPE_TO_CONFIG_MAPPING.get(config.get("peft_type", ""))
    known = kind.__dataclass_fields__ if kind else config
    return [key for key, value in config.items() if key not in known and value]


class _Scales(BaseModel):
    """What of a LoRA's config says how much its factors count."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    r: PositiveInt
    lora_alpha: float
    rank_pattern: dict[str, PositiveInt] | None = None
    alpha_pattern: dict[str, float] | None = None
    use_rslora: bool = False

    def scalings(self, ranks: Mapping[str, int]) -> dict[str, float]:
        """What each module's product is multiplied with.

        Args:
            ranks: That each module's factors have.

        Raises:
            ValueError: The config says another rank, or holds a pattern that is none.
        """
        names = list(ranks)
        of_ranks = by_module(self.rank_pattern or {}, names)
        of_alphas = by_module(self.alpha_pattern or {}, names)
        found = {}
        for name, there in ranks.items():
            rank, alpha = of_ranks.get(name, self.r), of_alphas.get(name, self.lora_alpha)
            if rank != there:
                raise ValueError(f"{name}: the config says rank {rank}, the tensor has {there}")
            found[name] = alpha / (rank**0.5 if self.use_rslora else rank)
        return found


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
        tensors[f"{PREFIX}{name}.lora_A.weight"] = change.A.contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = change.B.contiguous()
    with atomic_path(folder / WEIGHTS) as path, system_errors():
        save_file(tensors, path, metadata={"format": "pt"})
    first = next(iter(diff.values()))
    rank, alpha = first.rank, first.scaling * first.rank
    # PEFT takes keys for patterns of a name's end; a whole name is the end of no other.
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        rank_pattern={re.escape(n): c.rank for n, c in diff.items() if c.rank != rank},
        alpha_pattern={
            re.escape(name): change.scaling * change.rank
            for name, change in diff.items()
            if change.scaling * change.rank != alpha
        },
        target_modules=_targets(diff, modules),
        fan_in_fan_out=transposed,
        base_model_name_or_path=base_name,
        task_type="CAUSAL_LM",
        inference_mode=True,
    )
    plain = config.to_dict().items()
    write_json(folder / CONFIG, {k: sorted(v) if isinstance(v, set) else v for k, v in plain})


def _targets(diff: Diff, modules: Collection[str]) -> list[str]:
    ends = {name.rpartition(".")[2] for name in diff}
    meant = {name for name in modules if name.rpartition(".")[2] in ends}
    return sorted(ends if meant == set(diff) else diff)


def read_peft(folder: Path) -> Diff:
    """Read a plain LoRA, of which nothing may be missing.

    Raises:
        UsageError: The folder is not a PEFT LoRA, or one of a kind that is not plain low-rank.
        CorruptFileError: Its weights are cut off, or do not fit its config.
    """
    config = read_config(folder)
    odd = oddities(config) or unknown_keys(config)
    if odd:
        raise UsageError(
            f"{folder} is no plain LoRA ({', '.join(odd)}); merge it into its base with peft first"
        )
    return factors(read_adapter(folder))


def factors(files: AdapterFiles, sides: Mapping[str, Mapping[str, Tensor]] | None = None) -> Diff:
    """The factors of a plain LoRA, by its own names for the modules.

    Args:
        files: Of the adapter.
        sides: The modules that are wanted, as of `sides_of`; by default all.

    Raises:
        UsageError: It holds a tensor that is no factor.
        CorruptFileError: Half of a pair is missing, or the config says other shapes.
    """
    where, path = files.folder / CONFIG, files.weights
    sides = sides_of(files.tensors) if sides is None else sides
    if sides is None:
        stranger = next(key for key in files.tensors if not FACTOR.fullmatch(key))
        raise UsageError(f"{path} holds {stranger}, which is no factor of a plain LoRA")
    if not sides:
        raise CorruptFileError(f"{path} holds no tensors")
    for name, pair in sides.items():
        if pair.keys() != {"A", "B"}:
            raise CorruptFileError(f"{path} holds only half of the factors of {name}")
        if odd := [tensor.dim() for tensor in pair.values() if tensor.dim() != 2]:
            raise CorruptFileError(f"{path} holds factors of {name} with {odd[0]} axes, not 2")
    try:
        scales = _Scales.model_validate(files.config)
        scalings = scales.scalings({name: pair["A"].shape[0] for name, pair in sides.items()})
    except ValidationError as error:
        faults = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        raise CorruptFileError(f"{where} lacks or garbles {faults}; write it again") from error
    except ValueError as error:
        raise CorruptFileError(f"{where} does not fit {path.name}: {error}") from error
    diff: Diff = {}
    for name, pair in sides.items():
        try:
            diff[name] = LowRank(pair["A"], pair["B"], scalings[name])
        except ValueError as error:
            raise CorruptFileError(f"{path}, {name}: {error}") from error
    return diff


def sides_of(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]] | None:
    """What is there of "A" and "B" of each module; None if there is any other tensor."""
    sides: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = FACTOR.fullmatch(key)
        if match is None:
            return None
        sides.setdefault(match["module"], {})[match["side"]] = tensor
    return sides


def oddities(config: Mapping[str, Any]) -> list[str]:
    """What a config says that makes it more than a plain low-rank change; empty if it is one."""
    return [
        f"{key}={value}" if isinstance(value, str | int | float) else key
        for key, value in {"peft_type": "missing", **config}.items()
        if not _is_plain(key, value) and key not in unknown_keys(config)
    ]


def _is_plain(key: str, value: Any) -> bool:
    if key not in _PLAIN:
        return not value
    allowed = _PLAIN[key]
    return allowed is None or value in allowed
