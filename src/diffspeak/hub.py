"""The hub: names (`org/name@revision:subfolder`), the cache on this machine, downloads, errors.

Cheap to import: huggingface_hub is imported inside functions. What of a repository is needed is
decided in `downloads`.
"""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.progress import Reporter, Silent

STAGE = "download"

# Neither part begins with a dot: `./name` and `../name` are paths.
_ID = re.compile(
    r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^:#]+))?(:(?P<subfolder>[^#]+))?", re.ASCII
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
"""How the system says that a disk is full."""

_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))

_NO_CONNECTION = (
    "{name} could not be fetched ({reason}): check your connection and run the same command again, "
    "or set HF_HUB_OFFLINE=1 to go by what is in the cache"
)
_WHY = {
    "GatedRepoError": "{id} is gated: accept its terms on {url}, sign in with `hf auth login`, and "
    "run the same command again",
    "RepositoryNotFoundError": "there is no {kind} {id} on the hub, or it is private: check the "
    "name, or sign in with `hf auth login` as somebody who may read it",
    "RevisionNotFoundError": "{id} has no revision {revision}: look for one on {url}/refs",
    "RemoteEntryNotFoundError": "a file of {name} is gone from the hub: run the same command again",
    "HFValidationError": "{id} is no hub id ({reason}): give org/name",
}
"""What an error of huggingface_hub means, by its class."""
_STATUS = {
    401: "the hub does not know you: sign in with `hf auth login`, and run the same command again",
    403: "the hub does not let you read {name}: see {url}, and sign in with `hf auth login`",
    429: "the hub asks for patience (too many requests): run the same command again later",
}


class HubId(NamedTuple):
    """A hub id's parts; a subfolder may be a single file."""

    repo: str
    revision: str | None
    subfolder: str


def hub_id(name: str) -> HubId | None:
    """The parts of `org/name@revision:subfolder`; None if a text has another form.

    Raises:
        UsageError: The subfolder leaves the repository.
    """
    match = _ID.fullmatch(name)
    if match is None:
        return None
    subfolder = (match["subfolder"] or "").strip("/")
    if ".." in subfolder.split("/"):
        raise UsageError(f"{name}: the subfolder may not leave its repository")
    return HubId(match["repo"], match["revision"], subfolder)


@dataclass(frozen=True)
class Repository:
    """A repository, or a part of one.

    Attributes:
        id: `org/name`.
        revision: Branch, tag or commit; the default branch if None.
        subfolder: The folder that is meant, or a single file; everything if empty.
        kind: As the hub calls it.
        files: Paths of the needed files; chosen by the names of all files if there are none.
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
        from huggingface_hub import constants

        return f"{constants.ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.id}"

    @property
    def storage(self) -> Path:
        """Its folder in the hub's cache, all revisions of it."""
        from huggingface_hub.file_download import repo_folder_name

        with explained(self):
            return cache() / repo_folder_name(repo_id=self.id, repo_type=self.kind)


class HubFile(NamedTuple):
    """A file of a repository: its path there, its size in bytes, and whether it is cached."""

    name: str
    size: int
    cached: bool


@dataclass(frozen=True)
class RepoFiles:
    """The needed files of a repository's revision.

    Attributes:
        repository: Which.
        commit: The revision's, in full.
        files: The needed ones.
        closed: Why the hub does not give them, if it does not.
    """

    repository: Repository
    commit: str
    files: tuple[HubFile, ...]
    closed: UsageError | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files if not file.cached)

    @property
    def is_cached(self) -> bool:
        """Whether there is nothing to download."""
        return all(file.cached for file in self.files)


def cache() -> Path:
    """The folder of the hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def download(found: RepoFiles, reporter: Reporter | None = None) -> Path:
    """Download what is not cached yet. A file is in the cache whole or not at all.

    Not `snapshot_download`: that names the revision before its files are there, answers a refusal
    with a part of a folder, and waits for whole files when it is interrupted.

    Args:
        found: What is needed.
        reporter: Told about progress, within a file too.

    Returns:
        The folder on this machine that the repository's subfolder stands for, or the single file.

    Raises:
        UsageError: The hub refuses, or cannot be reached.
        DiffspeakError: The disk is full, or the repository changed at the same time.
    """
    repository, folder = found.repository, Path()
    if found.closed and not found.is_cached:
        raise found.closed
    meter = ByteMeter(Silent() if found.is_cached else reporter or Silent(), STAGE, found.missing)
    bar, done = _bar_of(meter), 0
    for file in found.files:
        path = _downloaded(repository, file.name, found.commit, tqdm_class=bar)
        folder = path.parents[len(Path(file.name).parts) - 1]
        done += 0 if file.cached else file.size
        meter.reach(done)
    meter.end()
    # Only now that all files are there, the cache learns which commit the revision is.
    if not found.closed and _downloaded(repository, file.name, repository.revision) != path:
        raise DiffspeakError(
            f"{repository.name} was changed while it was fetched: run the same command again"
        )
    return folder / repository.subfolder


def _downloaded(repository: Repository, name: str, revision: str | None, **options: Any) -> Path:
    import huggingface_hub

    with explained(repository):
        path = huggingface_hub.hf_hub_download(
            repository.id, name, repo_type=repository.kind, revision=revision, **options
        )
    return Path(path)


def _bar_of(meter: "ByteMeter") -> type:
    """A progress bar's class, for huggingface_hub; all of its bars move one meter."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc, unused-ignore]
        def __init__(self, *args: object, initial: int = 0, **options: object) -> None:
            super().__init__(disable=True)
            meter.add(initial)

        def update(self, count: float | None = 1) -> None:
            meter.add(int(count or 0))

        def update_transfer(self, count: float | None = 1) -> None:
            """Bytes over the wire; those on the disk are what counts."""

        def set_transfer_postfix_str(self, *args: object, **options: object) -> None:
            """Rates are the reporter's to tell."""

    return Bar


class ByteMeter:
    """Tells a reporter how many of so many bytes are done, in a unit that reads well.

    Args:
        reporter: Whom to tell.
        stage: What is being done.
        total: How many bytes there are.
    """

    def __init__(self, reporter: Reporter, stage: str, total: int) -> None:
        self._reporter, self._total = reporter, total
        # Gigabytes are told in megabytes, for a bar that moves.
        self._size, unit = next(
            (each for each in _UNITS[1:] if total >= 10 * each[0]), (1, "bytes")
        )
        self._done = self._told = 0
        reporter.begin(stage, self._units(total), unit)

    def add(self, count: int) -> None:
        """So many more bytes are done; fewer again, if `count` is negative."""
        self.reach(self._done + count)

    def reach(self, count: int) -> None:
        """So many bytes are done in all; never more than there are."""
        self._done = count
        told = self._units(min(count, self._total))
        if told != self._told:
            self._reporter.advance(told - self._told)
            self._told = told

    def end(self) -> None:
        """All is done."""
        self.reach(self._total)
        self._reporter.end()

    def _units(self, count: int) -> int:
        """Rounded up, so that the last byte ends the bar."""
        return -(-count // self._size)


def size_of(count: int) -> str:
    """A number of bytes in words, such as `8.05 GB`."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"


@contextmanager
def explained(repository: Repository) -> Iterator[None]:
    """Turn what goes wrong at the hub into one line that says what to do.

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
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from diffspeak.io.files import failed_write

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    # From the narrower class to the wider one: a gated repository is also one not found.
    text = next((_WHY[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _WHY), "")
    # Otherwise the system refused to connect, not to write.
    of_disk = isinstance(error, OSError) and (error.filename is not None or error.errno in _FULL)
    if not text and of_disk and isinstance(error, OSError):
        return failed_write(Path(error.filename or cache()), error)
    text = text or _STATUS.get(status, _NO_CONNECTION)
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


def free_space(path: Path) -> int:
    """Bytes free on the disk of a folder that need not exist yet."""
    return shutil.disk_usage(existing(path)).free


def existing(path: Path) -> Path:
    """A folder, or the innermost one around it that exists and may be seen."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if is_seen(each))


def is_seen(path: Path) -> bool:
    """Whether a path exists, and this user may know of it."""
    try:
        return path.exists()
    except PermissionError:
        return False


def why_not_writable(path: Path) -> str | None:
    """Why nothing can be written in a folder that need not exist yet; None if it can.

    A full disk is none of the reasons.
    """
    try:
        # Only trying it tells: permissions say nothing of /proc, nor of a disk mounted read-only.
        with TemporaryDirectory(prefix=".diffspeak-", dir=existing(path)):
            return None
    except OSError as error:
        return None if error.errno in _FULL else error.strerror or str(error)
