"""The pocket base as an ordinary Hugging Face folder, its model card included.

Takes a folder to write, copies what ships. Knows nothing of tensors: the base is stored in
Hugging Face's own files.
"""

import re
from pathlib import Path

from diffspeak.errors import UsageError
from diffspeak.files import atomic_path, make_folder
from diffspeak.models.pocket import base_folder


def export_base(folder: Path) -> None:
    """Copy the base; each file is whole or not there.

    Args:
        folder: Made if missing; empty.

    Raises:
        UsageError: The folder is a URL or not empty, or the base did not ship.
        DiffspeakError: The system refused to write.
    """
    if re.match(r"\w+:/", str(folder)):
        raise UsageError(f"{folder} cannot be written: give a local folder and upload it later")
    shipped = sorted(path for path in base_folder().iterdir() if path.is_file())
    make_folder(folder)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder to export to")
    for path in shipped:
        with atomic_path(folder / path.name) as draft:
            draft.write_bytes(path.read_bytes())
