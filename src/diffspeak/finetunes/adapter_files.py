"""The two files of an adapter, as its folder has them: a config and tensors.

Takes a folder, gives both, checked as far as that goes without a base: the config is an object,
every number is finite, nothing is empty. Pickled tensors are opened by torch's restricted loader,
which runs nothing. Knows nothing of what they mean.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from diffspeak.errors import CorruptFileError
from diffspeak.finetunes.names import plain_name
from diffspeak.finetunes.numbers import fault_of
from diffspeak.finetunes.peft_library import PEFT_TYPE_TO_CONFIG_MAPPING
from diffspeak.finetunes.pickles import load_pickle
from diffspeak.io.files import read_bytes, read_json

CONFIG = "adapter_config.json"
WEIGHTS, PICKLED = "adapter_model.safetensors", "adapter_model.bin"
MODELS = ("model.safetensors", "model.safetensors.index.json")


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
        CorruptFileError: A file is missing, cut off, or no adapter's.
    """
    config = read_config(folder)
    return AdapterFiles(folder, weights_of(folder), config, read_weights(folder))


def weights_of(folder: Path) -> Path:
    """The file that holds an adapter's tensors; where there are two, the one that peft takes."""
    for name in (WEIGHTS, PICKLED):
        if (folder / name).is_file():
            return folder / name
    raise CorruptFileError(
        f"{folder} has an {CONFIG} and no {WEIGHTS}: the adapter's weights are missing; fetch or "
        "save it again"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The config of an adapter.

    Raises:
        CorruptFileError: It is not a JSON object.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise CorruptFileError(f"{folder / CONFIG} is no config of an adapter; write it again")
    return config


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of an adapter, of which every number is finite.

    Raises:
        CorruptFileError: The file is missing or cut off, or holds numbers that are not finite.
    """
    path = weights_of(folder)
    tensors = read_pickled(path) if path.name == PICKLED else read_safetensors(path)
    check_tensors(path, tensors.items())
    return tensors


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """A file's tensors, read into memory: a mapped file that shrinks would end the process.

    Raises:
        CorruptFileError: It is no such file, or cut off.
    """
    try:
        return _by_plain_names(path, load(read_bytes(path)))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptFileError(
            f"{path} cannot be read ({error}); fetch or write it again"
        ) from error


def read_pickled(path: Path) -> dict[str, Tensor]:
    """A pickle's tensors, opened without running anything in it.

    Raises:
        CorruptFileError: It holds more than tensors by name, or is cut off.
    """
    content = load_pickle(path)
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in content.items()
    ):
        raise CorruptFileError(f"{path} is no table of tensors by name; save the adapter again")
    return _by_plain_names(path, content)


def check_tensors(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse tensors that no training leaves behind.

    Raises:
        CorruptFileError: One is empty, not finite, or no plain array of numbers.
    """
    for key, tensor in tensors:
        if not tensor.numel():
            raise CorruptFileError(
                f"{path}, {key} is empty ({tuple(tensor.shape)}): the parts of a sharded training "
                "(DeepSpeed ZeRO-3, FSDP) were not gathered; gather them and save it again"
            )
        fault = fault_of(tensor, whole_numbers=True)
        if fault:
            raise CorruptFileError(f"{path}, {key}: {fault}")


def _by_plain_names(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {plain_name(key): tensor for key, tensor in tensors.items()}
    if len(named) < len(tensors):
        raise CorruptFileError(f"{path} holds a tensor twice, once of a compiled model; save again")
    return named


def unknown_keys(config: Mapping[str, Any]) -> list[str]:
    """What a config says that means nothing to the peft that is installed, so that it is ignored.

    Of a kind of adapter that it does not know, nothing is.
    """
    kind = PEFT_TYPE_TO_CONFIG_MAPPING.get(config.get("peft_type", ""))
    known = kind.__dataclass_fields__ if kind else config
    return [key for key, value in config.items() if key not in known and value]


def ignored(config: dict[str, Any]) -> list[str]:
    """A note, if a config says what the peft that is installed does not know."""
    keys = unknown_keys(config)
    if not keys:
        return []
    return [f"its config says {', '.join(sorted(keys))}, which peft does not know and ignores"]


def beside(folder: Path) -> list[str]:
    """A note, if a whole model lies beside an adapter."""
    models = [name for name in MODELS if (folder / name).is_file()]
    said = [f"its folder holds a whole model too ({name}), which was not read" for name in models]
    return said[:1]
