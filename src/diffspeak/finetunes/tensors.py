"""Tensors out of files of strangers: read without running anything, and checked.

Pickles are opened by torch's restricted loader alone, which makes tensors and plain containers.
"""

import pickle
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from diffspeak.errors import CorruptFileError
from diffspeak.io.files import read_bytes

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_pickle(path: Path) -> Any:
    """Open a `.pt` file without running anything in it.

    Raises:
        CorruptFileError: It holds code or is broken.
    """
    try:
        with warnings.catch_warnings():
            # It warns of pickles that others than torch wrote; what matters raises.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # What torch refused to make stands in the midst of its long explanation.
        _, _, rest = " ".join(str(error).split()).partition("GLOBAL ")
        what = rest.split(" ")[0] if rest else "an object that is not a tensor"
        raise CorruptFileError(
            f"{path} holds more than tensors ({what}): such a file can run code and is "
            "not opened; ask for safetensors"
        ) from error
    except Exception as error:
        # A broken pickle makes its reader fail in any way.
        raise CorruptFileError(f"{path} cannot be read ({error}); fetch it again") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """A file's tensors, read into memory: a mapped file that shrinks would end the process.

    Raises:
        CorruptFileError: It is no such file, or cut off.
    """
    try:
        return load(read_bytes(path))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CorruptFileError(
            f"{path} cannot be read ({error}); fetch or write it again"
        ) from error


def check_tensors(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Refuse tensors that no training leaves behind.

    Raises:
        CorruptFileError: One is empty, not finite, or not a plain array of numbers.
    """
    for key, tensor in tensors:
        if not tensor.numel():
            raise CorruptFileError(
                f"{path}, {key} is empty ({tuple(tensor.shape)}): the parts of a sharded training "
                "(DeepSpeed ZeRO-3, FSDP) were not gathered; gather them and save it again"
            )
        if fault := fault_of(tensor, whole_numbers=True):
            raise CorruptFileError(f"{path}, {key}: {fault}")


def fault_of(tensor: Tensor, *, whole_numbers: bool = False) -> str | None:
    """What is wrong with a tensor, in words that follow on its name; None if nothing is.

    Args:
        tensor: As it came out of a file.
        whole_numbers: Whether it may hold integers, as indices do.
    """
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_nested:
        return "is no plain array of numbers"
    if tensor.dtype not in FLOATS:
        if whole_numbers and not (tensor.is_floating_point() or tensor.is_complex()):
            return None
        return f"holds {str(tensor.dtype).removeprefix('torch.')}, not float16, bfloat16 or float32"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "is larger than what its file holds of it"
    if not tensor.isfinite().all():
        return "holds numbers that are not finite; its training diverged or it was damaged"
    return None
