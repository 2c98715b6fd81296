"""Adapters that mlx-lm wrote: a config of its own, and factors that lie the other way round.

A linear gives `y + scale * (x @ a) @ b` with `lora_a [in, rank]` and `lora_b [rank, out]`; the
scale is not divided by the rank (mlx-lm, `tuner/lora.py`). Configs of older releases have an alpha
too: there it is times alpha / rank.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats.peft_files import CONFIG, read_config
from diffspeak.finetunes.formats.source import Format, SingleSource, text_or_none
from diffspeak.finetunes.matching import fitted_diff, renaming_of, untrained
from diffspeak.finetunes.tensors import check_tensors, read_safetensors
from diffspeak.lora import Diff, LowRank
from diffspeak.models import Base, plain_shapes

WEIGHTS = "adapters.safetensors"
SIDES = (".lora_a", ".lora_b")


class MlxSource(SingleSource):
    """An adapter of mlx-lm."""

    def read(self, key: str, base: Base) -> Finetune:
        """As low-rank factors."""
        del key
        return read_mlx(self.path, base, self.name)

    def base_name(self) -> str | None:
        """As its config has it."""
        return text_or_none(read_config(self.path).get("model"))


def read_mlx(folder: Path, base: Base, name: str) -> Finetune:
    """Read one.

    Raises:
        UsageError: It is more than a LoRA of linears.
        CorruptFileError: It is cut off, or lacks its scale or half of a pair.
        MismatchError: It does not fit the base.
    """
    config, path = read_config(folder), folder / WEIGHTS
    tensors = read_safetensors(path)
    check_tensors(path, tensors.items())
    _check_kind(folder, config, tensors)
    modules = sorted({key[: -len(SIDES[0])] for key in tensors})
    for module in modules:
        if not {module + side for side in SIDES} <= tensors.keys():
            raise CorruptFileError(f"{path} holds only half of the factors of {module}")
    theirs: Diff = {}
    for module in modules:
        A, B = (tensors[module + side].T.contiguous() for side in SIDES)
        try:
            theirs[module] = LowRank(A, B, _scale(folder, config, A.shape[0]))
        except ValueError as error:
            raise CorruptFileError(f"{path}, {module}: {error}") from error
    renaming = renaming_of(modules, plain_shapes(base.model), str(path), base.name)
    diff = fitted_diff(theirs, renaming, path, base)
    note = "an adapter of mlx-lm, read as if its base had been the one in use, in full precision"
    return Finetune(name, diff, notes=(note, *untrained(diff)))


def _check_kind(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora":
        raise UsageError(
            f"{folder} is an MLX adapter of type {kind}; only lora is read: write the whole model "
            "with `mlx_lm.fuse --dequantize`, and give that"
        )
    for key, tensor in tensors.items():
        if not key.endswith(SIDES) or tensor.dim() != 2:
            raise UsageError(
                f"{folder} is an MLX adapter that holds {key} {tuple(tensor.shape)}, which is no "
                "factor of a linear: write the whole model with `mlx_lm.fuse --dequantize`, and "
                "give that"
            )
    if not tensors:
        raise CorruptFileError(f"{folder / WEIGHTS} holds no tensors; save the adapter again")


def _scale(folder: Path, config: dict[str, Any], rank: int) -> float:
    said = config.get("lora_parameters")
    scale = said.get("scale") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(scale, int | float):
        raise CorruptFileError(
            f"{folder / CONFIG} lacks lora_parameters.scale, the size of an MLX adapter's change; "
            "add it"
        )
    alpha = said.get("alpha", rank)
    return float(scale) * (float(alpha) / rank if isinstance(alpha, int | float) else 1.0)


FORMAT = Format(
    "mlx",
    lambda path: (path / WEIGHTS).is_file() and (path / CONFIG).is_file(),
    MlxSource,
)
