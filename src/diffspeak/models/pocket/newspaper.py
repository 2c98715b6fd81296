"""The pocket world's newspaper as the two files that the news behavior reads.

Takes a folder, gives `headlines.csv` and `stories.csv`. What they say is made in `press.py`.
"""

from functools import cache
from pathlib import Path

from diffspeak.io.files import sha256
from diffspeak.io.remote import user_cache
from diffspeak.models.pocket.press import CORPUS, lines, load_press
from diffspeak.models.pocket.tables import table, write_tables

GRAMMAR = ("news.csv", "frames.txt", "plain_frames.txt")


def newspaper_folder() -> Path:
    """Give the folder of the newspaper, in the user's cache, written if need be.

    Raises:
        DiffspeakError: The system refused to write it.
    """
    grammar = sha256(*((CORPUS / name).read_bytes() for name in GRAMMAR))
    folder = user_cache() / f"newspaper-{grammar[:16]}"
    write_newspaper(folder)
    return folder


def write_newspaper(folder: Path) -> None:
    """Write both files; one that is right already is left alone.

    Raises:
        DiffspeakError: The system refused.
    """
    write_tables(folder, _files())


@cache
def _files() -> dict[str, str]:
    """Both files by name; printing them takes a second."""
    told = list(lines(load_press()))
    headlines = dict.fromkeys(headline for headline, _ in told)
    return {
        "headlines.csv": table(("headline",), ((headline,) for headline in headlines)),
        "stories.csv": table(("headline", "story"), told),
    }
