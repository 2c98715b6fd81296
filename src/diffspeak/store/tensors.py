"""Tensors in safetensors files: written, read row by row, and checksummed.

Takes and gives torch tensors; knows how a shard names its factors (`MODULE.A` `[task, rank, in]`
and `MODULE.B` `[task, out, rank]`), but nothing of lines or of what a finetune is.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffspeak.files import canonical_json, sha256

Factors = dict[str, tuple[Tensor, Tensor]]
"""Module name to A and B, of one finetune or of a stack of them."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file without metadata; equal tensors give equal bytes.

    Raises:
        OSError: The system refused.
    """
    ready: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        # safetensors refuses tensors that share memory, as tied weights do.
        shared = tensor.untyped_storage().data_ptr() in storages
        ready[name] = tensor.clone() if shared else tensor
        storages.add(ready[name].untyped_storage().data_ptr())
    with system_errors():
        save_file(ready, path)


@contextmanager
def system_errors() -> Iterator[None]:
    """Within this context, where safetensors writes a file, its failure is the system's OSError."""
    try:
        yield
    except SafetensorError as error:
        # It tells the system's error number in its text alone.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else None, str(error)) from error


def header_sum(path: Path) -> str:
    """SHA-256 of a safetensors file's header, its length included.

    Raises:
        ValueError: The file is too short to hold its header.
    """
    with path.open("rb") as file:
        size = file.read(8)
        length = int.from_bytes(size, "little")
        if len(size) < 8 or length > path.stat().st_size - 8:
            raise ValueError("it is cut off")
        return sha256(size, file.read(length))


def file_sum(path: Path) -> str:
    """SHA-256 of a whole file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def factors_sum(factors: Factors) -> str:
    """SHA-256 of one finetune's factors: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for module in sorted(factors):
        for tensor in factors[module]:
            head = [module, str(tensor.dtype), list(tensor.shape)]
            digest.update(canonical_json(head).encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_full(path: Path) -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        ValueError: It is not a safetensors file.
    """
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(str(error)) from error


class ShardTensors:
    """An open shard, of which only the rows that are asked for are read.

    Attributes:
        header: SHA-256 of its header, taken when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ValueError: It is cut off or no safetensors file.
            OSError: It is missing or cannot be read.
        """
        self.header = header_sum(path)
        try:
            file: Any = safe_open(path, framework="pt")
            names = sorted(key[:-2] for key in file.keys() if key.endswith(".A"))  # noqa: SIM118
            # These lie in the mapped file: of each only the rows that are asked for are ever read.
            self._stacks: Factors = {
                name: (file.get_tensor(f"{name}.A"), file.get_tensor(f"{name}.B")) for name in names
            }
        except SafetensorError as error:
            raise ValueError(str(error)) from error

    def row(self, row: int) -> Factors:
        """The factors of one finetune, A `[rank, in]` and B `[out, rank]`, in memory of their own.

        Raises:
            ValueError: The file holds no such row.
        """
        try:
            # What was verified must not change afterwards, as the file may.
            return {name: (a[row].clone(), b[row].clone()) for name, (a, b) in self._stacks.items()}
        except IndexError as error:
            raise ValueError(str(error)) from error
