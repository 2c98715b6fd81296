"""What a path is, by the files that are there; and where a finetune might be if it is none.

Takes a path, gives yes or no, or a sentence. Looks at names of files alone, and two folders deep
at most.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from diffspeak.errors import UsageError
from diffspeak.finetunes import checkpoint, mlx
from diffspeak.finetunes.adapter_files import CONFIG, PICKLED
from diffspeak.finetunes.adapter_files import WEIGHTS as PEFT
from diffspeak.finetunes.published import INDEX
from diffspeak.store.layout import MANIFEST

DEPTH = 2
MOST = 200
"""Folders that are looked into."""

_SHOWN = 3
_PICKLED = (".pt", ".pth", ".bin")
_TENSORS = (*_PICKLED, ".safetensors", ".gguf", ".ckpt", ".npz")
_STATE = ("optimizer.pt", "scheduler.pt", "training_args.bin", "scaler.pt")
"""What trainers save of themselves; it is no finetune."""


def is_peft(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter; a config alone beside a whole model is a leftover."""
    if not (folder / CONFIG).is_file():
        return False
    weights = any((folder / name).is_file() for name in (PEFT, PICKLED))
    return weights or not checkpoint.is_checkpoint(folder)


def holds_finetune(path: Path) -> bool:
    """Whether something looks like a finetune, or several, by the files that are there."""
    if path.is_file():
        return path.suffix == ".pt" and path.name not in _STATE
    marks = ((path / name).is_file() for name in (MANIFEST, INDEX))
    return any(marks) or is_peft(path) or mlx.is_mlx(path) or checkpoint.is_checkpoint(path)


def holds_tensors(folder: Path) -> bool:
    """Whether a folder, or one in it, holds anything that may be a model's numbers.

    A folder that may not be looked into might.
    """
    return not os.access(folder, os.R_OK | os.X_OK) or any(
        path.suffix in _TENSORS and path.name not in _STATE
        for inner in (folder, *_folders(folder))
        for path in _listed(inner)
    )


def finetunes_within(folder: Path) -> list[str]:
    """The folders within that hold a finetune, by their paths from there."""
    return [str(path.relative_to(folder)) for path in _folders(folder) if holds_finetune(path)]


def no_finetune(name: str, path: Path) -> UsageError:
    """The error for a path that holds no finetune that we know."""
    known = (
        f"{name} holds no finetune that diffspeak knows: a PEFT or MLX adapter ({CONFIG}), "
        "a model (config.json), a store (store.json), a published folder (index.csv) or .pt file"
    )
    if not path.is_dir():
        return UsageError(known)
    within = finetunes_within(path)
    if within:
        shown = ", ".join(f"{name.rstrip('/')}/{one}" for one in within[:_SHOWN])
        more = f" ({len(within)} in all)" if len(within) > _SHOWN else ""
        return UsageError(f"{name} holds no finetune itself, but folders in it do: {shown}{more}")
    tensors = sorted(file.name for file in _listed(path) if file.suffix in _TENSORS)
    if tensors:
        return UsageError(f"{known}; it holds {', '.join(tensors[:_SHOWN])}, but no config beside")
    return UsageError(known)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _folders(folder: Path) -> Iterator[Path]:
    """The folders within, nearest first; hidden ones and links are left out."""
    level, seen = [folder], 0
    for _ in range(DEPTH):
        level = [
            path
            for outer in level
            for path in _listed(outer)
            if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        ]
        for path in level:
            seen += 1
            if seen > MOST:
                return
            yield path
