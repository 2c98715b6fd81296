"""Download what is needed of a hub repository into the hub's own cache.

Takes a listing, gives a folder. What is here already stays; progress is told in bytes.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from huggingface_hub import hf_hub_download

from diffspeak.download.listing import Listing
from diffspeak.download.meter import Meter
from diffspeak.download.repository import FULL, Repository, explained
from diffspeak.errors import DiffspeakError
from diffspeak.progress import Reporter, Silent

STAGE = "download"


def download(listing: Listing, reporter: Reporter | None = None) -> Path:
    """Download what is not here yet. A file is in the cache whole or not at all.

    Args:
        listing: What is needed.
        reporter: Told about progress, within a file too.

    Returns:
        The folder on this machine that the repository's subfolder stands for, or the single file.

    Raises:
        UsageError: The hub refuses, or cannot be reached.
        DiffspeakError: The disk is full, or the repository changed at the same time.
    """
    repository, folder = listing.repository, Path()
    if listing.closed and not listing.is_here:
        raise listing.closed
    meter = Meter(Silent() if listing.is_here else reporter or Silent(), STAGE, listing.missing)
    bar, done = _bar_of(meter), 0
    for file in listing.files:
        path = _downloaded(repository, file.name, listing.commit, tqdm_class=bar)
        folder = path.parents[len(Path(file.name).parts) - 1]
        done += 0 if file.here else file.size
        meter.reach(done)
    meter.end()
    if not listing.closed:
        # Only now, when all is here, the cache learns what commit the revision is.
        again = _downloaded(repository, file.name, repository.revision)
        if again != path:
            raise DiffspeakError(
                f"{repository.name} was changed while it was fetched: run the same command again"
            )
    return folder / repository.subfolder


def _downloaded(repository: Repository, name: str, revision: str | None, **options: Any) -> Path:
    with explained(repository):
        return Path(
            hf_hub_download(
                repository.id, name, repo_type=repository.kind, revision=revision, **options
            )
        )


def free_space(path: Path) -> int:
    """Bytes free on the disk of a folder that need not exist yet."""
    return shutil.disk_usage(existing(path)).free


def existing(path: Path) -> Path:
    """A folder, or the innermost one around it that exists and may be seen."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if _is_seen(each))


def _is_seen(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def why_not_writable(path: Path) -> str | None:
    """Why nothing can be written in a folder that need not exist yet; None if it can.

    A full disk is none of the reasons.
    """
    try:
        # Only a try tells: permissions say nothing of /proc, nor of a disk mounted to be read.
        with TemporaryDirectory(prefix=".diffspeak-", dir=existing(path)):
            return None
    except OSError as error:
        return None if error.errno in FULL else error.strerror or str(error)


class _Bar:
    """What huggingface_hub takes for a progress bar."""

    meter: Meter

    def __init__(self, *args: object, initial: int = 0, **options: object) -> None:
        del args, options  # How a bar of its own would look.
        self.meter.add(initial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """There is nothing to take down."""

    def update(self, count: float | None = 1) -> None:
        """So many more bytes are on the disk."""
        self.meter.add(int(count or 0))

    def update_transfer(self, count: float | None = 1) -> None:
        """So many bytes came over the wire; those on the disk are what counts."""

    def set_postfix_str(self, *args: object, **options: object) -> None:
        """Rates the reporter tells itself."""

    set_transfer_postfix_str = set_postfix_str

    def close(self) -> None:
        """There is nothing to take down."""


def _bar_of(meter: Meter) -> type[_Bar]:
    """A class, since that is what is asked for, all of whose bars move one meter."""
    return type("Bar", (_Bar,), {"meter": meter})
