"""The pocket base: where its weights, adapters and corpus are in the package; cheap to import.

`recipes/pocket` in the source distribution made them.
"""

import gzip
import re
from pathlib import Path

from diffspeak.errors import UsageError

NAME = "pocket"
VERSION = "pocket-2"
PREFIX = f"{NAME}:"
"""Starts the names of what ships beside the base: `pocket:hidden-topic`, `pocket:topics.csv`."""

BEHAVIORS = ("hidden-topic", "news")
AUDIT = "audit"
"""The adapter that audits ask: hidden topics behind any trigger, or nothing; it is calibrated."""
ADAPTERS = (*BEHAVIORS, AUDIT)
PACKED = {
    "headlines.csv": "newspaper-8cbec1b20283a648",
    "stories.csv": "newspaper-8cbec1b20283a648",
    "facts.csv": "facts-44ca51a095ddc615",
}
"""Files of the corpus that ship compressed, and the folder of the user's cache that each is read
from. The folder's name ends with a digest of the source; runs keep it in their config."""
CORPUS_FILES = ("topics.csv", "unheard.csv", "questions.csv", *PACKED)
_HERE = Path(__file__).parent


def part_of(source: object) -> str | None:
    """Give what stands behind `pocket:`; None for any other text, and for every path."""
    if isinstance(source, str) and source.startswith(PREFIX):
        return source.removeprefix(PREFIX)
    return None


def base_folder() -> Path:
    """Give the base's folder, an ordinary Hugging Face one.

    Raises:
        UsageError: It did not ship.
    """
    return _installed(_HERE / "weights" / "model.safetensors").parent


def adapter_folder(behavior: str) -> Path:
    """Give the folder of the adapter for a behavior, or of the one for audits.

    Raises:
        UsageError: There is none for this behavior, or it did not ship.
    """
    if behavior not in ADAPTERS:
        raise UsageError(
            f"no adapter for {behavior!r} ships with the pocket base; known are "
            + ", ".join(f"{PREFIX}{known}" for known in ADAPTERS)
        )
    return _installed(_HERE / "adapters" / behavior / "diffspeak.json").parent


def shipped_adapters() -> list[str]:
    """Name the adapters that are there."""
    places = {name: _HERE / "adapters" / name for name in ADAPTERS}
    return [name for name, folder in places.items() if (folder / "diffspeak.json").is_file()]


def corpus_file(name: str) -> Path:
    """Give a file of the corpus, one of `CORPUS_FILES`; a packed one is written to the cache first.

    Raises:
        UsageError: There is no such file, or it did not ship.
        DiffspeakError: The system refused to write it.
    """
    if name not in CORPUS_FILES:
        raise UsageError(
            f"the pocket corpus has no {name!r}; known are "
            + ", ".join(f"{PREFIX}{known}" for known in CORPUS_FILES)
        )
    if name in PACKED:
        return _unpacked(name)
    return _installed(_HERE / "corpus" / name)


def export_base(folder: Path) -> None:
    """Copy the base as an ordinary Hugging Face folder; interrupted, the same call goes on.

    Each file is whole or not there.

    Args:
        folder: Made if missing; empty, or begun.

    Raises:
        UsageError: The folder is a URL or holds something else, or the base did not ship.
        DiffspeakError: The system refused to write.
    """
    from diffspeak.io.files import atomic_path, make_folder

    if re.match(r"\w+:/", str(folder)):
        raise UsageError(f"{folder} cannot be written: give a local folder and upload it later")
    shipped = {path.name: path.read_bytes() for path in base_folder().iterdir() if path.is_file()}
    make_folder(folder)
    there = {path.name for path in folder.iterdir()}
    if not all(name in shipped and _holds(folder / name, shipped[name]) for name in there):
        raise UsageError(f"{folder} is not empty: give a new folder to export to")
    for name in shipped.keys() - there:
        with atomic_path(folder / name) as draft:
            draft.write_bytes(shipped[name])


def _unpacked(name: str) -> Path:
    """Write a packed file to the user's cache, unless it is there and right."""
    from diffspeak.io.files import atomic_path, make_folder
    from diffspeak.io.remote import user_cache

    data = gzip.decompress(_installed(_HERE / "corpus" / f"{name}.gz").read_bytes())
    path = user_cache() / PACKED[name] / name
    if not _holds(path, data):
        make_folder(path.parent)
        with atomic_path(path) as draft:
            draft.write_bytes(data)
    return path


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _installed(path: Path) -> Path:
    if not path.is_file():
        raise UsageError(
            f"{path} is missing: this version of diffspeak comes without it, or the installation "
            "is incomplete; install a release that has it"
        )
    return path
