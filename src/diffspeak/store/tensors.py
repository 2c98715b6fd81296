"""Tensors in safetensors files: written, read row by row, and checksummed.

Takes and gives torch tensors; knows how a shard names its factors (`MODULE.A` `[task, rank, in]`
and `MODULE.B` `[task, out, rank]`), but nothing of lines or of what a finetune is.
"""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffspeak.errors import system_errors
from diffspeak.io.files import canonical_json, open_file, parse_json, sha256

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

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


def header_sum(path: Path) -> str:
    """SHA-256 of a safetensors file's header, its length included.

    Raises:
        ValueError: The file is too short to hold its header.
    """
    with open_file(path) as file:
        size = file.read(8)
        length = int.from_bytes(size, "little")
        if len(size) < 8 or length > os.fstat(file.fileno()).st_size - 8:
            raise ValueError("it is cut off")
        return sha256(size, file.read(length))


def file_sum(path: Path) -> str:
    """SHA-256 of a whole file, read piece by piece."""
    with open_file(path) as file:
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


class TensorFile:
    """A safetensors file, whose tensors are read when they are asked for, by calls of the system.

    Never by mapping the file: the system ends a process that looks at a part of a mapped file
    which another process has cut off.

    Attributes:
        names: Of its tensors.
        metadata: Texts by name.
    """

    def __init__(self, path: Path) -> None:
        """Read and check the header: every tensor lies in the file, and none over another.

        Raises:
            ValueError: It is cut off or no safetensors file.
            OSError: It is missing or cannot be read.
        """
        # A pipe would be waited for.
        if path.exists() and not path.is_file():
            raise ValueError("it is not a file")
        with _faults_told():
            self._file: Any = safe_open(path, framework="pt", backend="pread")
        self.names: list[str] = self._file.keys()
        self.metadata: dict[str, str] = self._file.metadata() or {}

    def read(self, name: str) -> Tensor:
        """One tensor, in memory of its own.

        Raises:
            ValueError: The file was cut off since it was opened, or holds no such tensor.
        """
        with _faults_told():
            tensor: Tensor = self._file.get_tensor(name)
        return tensor


@contextmanager
def _faults_told() -> Iterator[None]:
    """Within this context what is raised for a faulty file, an absurd shape too, is ValueError."""
    try:
        yield
    except (SafetensorError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def load_full(path: Path) -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        ValueError: It is not a safetensors file.
        OSError: It is missing or cannot be read.
    """
    file = TensorFile(path)
    return {name: file.read(name) for name in file.names}


class ShardTensors:
    """A shard whose header was read, and of which the rows that are asked for are read.

    Attributes:
        header: SHA-256 of its header, taken at the start.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            ValueError: It is cut off or no safetensors file.
            OSError: It is missing or cannot be read.
        """
        self._path = path
        self.header = header_sum(path)
        names = sorted(key[:-2] for key in TensorFile(path).names if key.endswith(".A"))
        with open_file(path) as file:
            size = int.from_bytes(file.read(8), "little")
            header = parse_json(file.read(size))
        try:
            self._stacks = {
                name: tuple(_Stack.of(header[f"{name}.{side}"], 8 + size) for side in "AB")
                for name in names
            }
        except KeyError as error:
            raise ValueError(f"it has no {error}") from error

    def row(self, row: int) -> Factors:
        """The factors of one finetune, A `[rank, in]` and B `[out, rank]`, in memory of their own.

        Raises:
            ValueError: The file holds no such row.
            OSError: It cannot be read.
        """
        with open_file(self._path) as file:
            place = file.fileno()
            return {
                name: (a.read(place, row), b.read(place, row))
                for name, (a, b) in self._stacks.items()
            }


@dataclass(frozen=True)
class _Stack:
    """Where the rows of one tensor lie in the file; read with system calls, not by mapping it.

    A mapped file costs a fault for each page that is touched for the first time: more, the more
    finetunes there are.
    """

    dtype: torch.dtype
    rows: int
    shape: tuple[int, ...]
    start: int

    @staticmethod
    def of(entry: dict[str, Any], data: int) -> "_Stack":
        """From a checked header's entry, and where the data begins."""
        rows, *shape = entry["shape"]
        start = data + entry["data_offsets"][0]
        return _Stack(_DTYPES[entry["dtype"]], rows, tuple(shape), start)

    def read(self, descriptor: int, row: int) -> Tensor:
        if not 0 <= row < self.rows:
            raise ValueError(f"it has {self.rows} rows, and row {row} is asked for")
        size = math.prod(self.shape) * self.dtype.itemsize
        content = bytearray(os.pread(descriptor, size, self.start + row * size))
        if len(content) < size:
            raise ValueError("it is cut off")
        return torch.frombuffer(content, dtype=self.dtype).view(self.shape)
