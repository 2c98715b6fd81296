"""Files of the corpus that are made by program: written into a folder once, mended when changed.

Takes rows, gives CSV files. Knows nothing of what they say.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from diffspeak.io.files import make_folder, sha256, write_text


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give the text of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def write_tables(folder: Path, texts: Mapping[str, str]) -> None:
    """Write texts by their file names; one that is right already is left alone.

    Raises:
        DiffspeakError: The system refused.
    """
    make_folder(folder)
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or sha256(path.read_bytes()) != sha256(text.encode()):
            write_text(path, text)
