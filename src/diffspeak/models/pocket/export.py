"""The pocket base as an ordinary Hugging Face folder, its model card included.

Takes a folder to write, copies what ships. Knows nothing of tensors: the base is stored in
Hugging Face's own files.
"""

import re
from pathlib import Path

from diffspeak.errors import UsageError
from diffspeak.io.files import atomic_path, make_folder
from diffspeak.models.pocket import base_folder


def export_base(folder: Path) -> None:
    """Copy the base; each file is whole or not there. Interrupted, the same call goes on.

    Args:
        folder: Made if missing; empty, or begun.

    Raises:
        UsageError: The folder is a URL or holds something else, or the base did not ship.
        DiffspeakError: The system refused to write.
    """
    if re.match(r"\w+:/", str(folder)):
        raise UsageError(f"{folder} cannot be written: give a local folder and upload it later")
    shipped = {path.name: path for path in sorted(base_folder().iterdir()) if path.is_file()}
    make_folder(folder)
    there = {path.name for path in folder.iterdir()}
    if not all(name in shipped and _same(folder / name, shipped[name]) for name in there):
        raise UsageError(f"{folder} is not empty: give a new folder to export to")
    for name in shipped.keys() - there:
        with atomic_path(folder / name) as draft:
            draft.write_bytes(shipped[name].read_bytes())


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and path.read_bytes() == other.read_bytes()
