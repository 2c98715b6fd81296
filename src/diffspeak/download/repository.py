"""The hub: its repositories, the cache on this machine, and what its errors mean.

Takes a repository's name and what went wrong; gives its places, and one line that says what to do.
Knows nothing of what is in a repository.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeGuard

from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.io.files import failed_write

_GATED = (
    "{id} is gated: accept its terms on {url}, sign in with `hf auth login`, and run the same "
    "command again"
)
_NO_CONNECTION = (
    "{name} could not be fetched ({reason}): check your connection and run the same command again, "
    "or set HF_HUB_OFFLINE=1 to go by what is in the cache"
)
_WHY: tuple[tuple[type[Exception], str], ...] = (
    (GatedRepoError, _GATED),
    (
        RepositoryNotFoundError,
        "there is no {kind} {id} on the hub, or it is private: check the name, or sign in with "
        "`hf auth login` as somebody who may read it",
    ),
    (RevisionNotFoundError, "{id} has no revision {revision}: look for one on {url}/refs"),
    (RemoteEntryNotFoundError, "a file of {name} is gone from the hub: run the same command again"),
    (HFValidationError, "{id} is no hub id ({reason}): give org/name"),
)
"""What an error of the hub means, the narrower kind first."""

_STATUS = {
    401: "the hub does not know you: sign in with `hf auth login`, and run the same command again",
    403: "the hub does not let you read {name}: see {url}, and sign in with `hf auth login`",
    429: "the hub asks for patience (too many requests): run the same command again later",
}

FULL = (errno.ENOSPC, errno.EDQUOT)
"""How the system says that a disk is full."""


@dataclass(frozen=True)
class Repository:
    """A repository, or a part of one.

    Attributes:
        id: `org/name`.
        revision: Branch, tag or commit; `main` if there is none.
        subfolder: The folder that is meant, or a single file; all if it is empty.
        kind: As the hub calls it.
        files: Those that are needed, by path; told by the names of all if there are none.
    """

    id: str
    revision: str | None = None
    subfolder: str = ""
    kind: Literal["model", "dataset"] = "model"
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As it is typed."""
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.id}{revision}" + (f":{self.subfolder}" if self.subfolder else "")

    @property
    def url(self) -> str:
        """Its page."""
        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"

    @property
    def storage(self) -> Path:
        """Its folder in the hub's cache, all revisions of it."""
        with explained(self):
            return cache() / repo_folder_name(repo_id=self.id, repo_type=self.kind)


def cache() -> Path:
    """The folder of the hub's cache."""
    return Path(constants.HF_HUB_CACHE)


def is_offline() -> bool:
    """Whether the user forbids connections, by HF_HUB_OFFLINE=1."""
    return constants.HF_HUB_OFFLINE


@contextmanager
def explained(repository: Repository) -> Iterator[None]:
    """Tell what goes wrong at the hub in a line that says what to do.

    Raises:
        UsageError: The hub refuses, or cannot be reached.
        DiffspeakError: The cache cannot be written, for instance because the disk is full.
    """
    try:
        yield
    except Exception as error:
        # Beside its own errors the hub raises those of the HTTP library that it was built on.
        raise _in_words(repository, error) from error


def _in_words(repository: Repository, error: Exception) -> DiffspeakError:
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    text = next((text for kind, text in _WHY if isinstance(error, kind)), None)
    if text is None and _is_of_the_disk(error):
        return failed_write(Path(error.filename or cache()), error)
    text = text or _STATUS.get(status or 0, _NO_CONNECTION)
    return UsageError(
        text.format(
            id=repository.id,
            kind=repository.kind,
            revision=repository.revision or constants.DEFAULT_REVISION,
            name=repository.name,
            url=repository.url,
            reason=" ".join(str(error).split())[:200],
        )
    )


def _is_of_the_disk(error: Exception) -> TypeGuard[OSError]:
    """Whether the system refused to write, and not to connect."""
    return isinstance(error, OSError) and (error.filename is not None or error.errno in FULL)
