"""What a folder or file is: the only answer, from a table with a line for each format.

Only names of files and a file's first bytes are looked at. To add a format, write a file here and
add its line to `FORMATS`; see docs/how-to/add-a-format.md.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from diffspeak.finetunes.formats import checkpoint, mlx, peft, published, store
from diffspeak.finetunes.formats.source import Format, Source

FORMATS: tuple[Format, ...] = (
    mlx.FORMAT,
    peft.FORMAT,
    store.FORMAT,
    published.FOLDER_FORMAT,
    checkpoint.FORMAT,
    published.FILE_FORMAT,
)
"""In the order in which they are tried: an adapter may lie beside a whole model, and one of MLX has
a config with the name of PEFT's."""

DEPTH = 2
"""So many folders deep finetunes are looked for."""

MOST = 200
"""Folders that are looked into."""

TENSORS = (".pt", ".pth", ".bin", ".safetensors", ".gguf", ".ckpt", ".npz")
TRAINER_STATE = ("optimizer.pt", "scheduler.pt", "training_args.bin", "scaler.pt")
"""What trainers save of themselves; it is not a finetune."""


def recognize(path: Path) -> Format | None:
    """The format of a path, the first of the table that it may be; None if it is of none."""
    return next((one for one in FORMATS if one.recognize(path)), None)


def holds_finetune(path: Path) -> bool:
    """Whether something found in a folder is to be opened: by its format, or a file by its name."""
    if path.is_file():
        return path.suffix == ".pt" and path.name not in TRAINER_STATE
    return recognize(path) is not None


def finetunes_within(folder: Path) -> list[str]:
    """The folders within that hold a finetune, by their paths from there."""
    return [str(path.relative_to(folder)) for path in _folders(folder) if holds_finetune(path)]


def tensor_files(folder: Path) -> list[str]:
    """Names of the files in a folder that may hold a model's numbers."""
    return [
        path.name
        for path in _listed(folder)
        if path.suffix in TENSORS and path.name not in TRAINER_STATE
    ]


def holds_tensors(folder: Path) -> bool:
    """Whether a folder, or one in it, may hold a model's numbers; one that is locked may."""
    return not os.access(folder, os.R_OK | os.X_OK) or any(
        tensor_files(inner) for inner in (folder, *_folders(folder))
    )


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


__all__ = [
    "FORMATS",
    "Format",
    "Source",
    "finetunes_within",
    "holds_finetune",
    "holds_tensors",
    "recognize",
    "tensor_files",
]
