"""Where a finetune lies: a path or a hub repository, from what the user typed (`PLACE#key`).

Of a hub repository only the files that are needed are fetched.
"""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.hub import hub_id

_FETCHED = ("*.json", "*.jinja", "*.safetensors", "*.csv", "*.jsonl", "adapter_model.bin")
"""What is fetched of a repository at once: never code, and of pickles an adapter's alone."""

_FILE = ".pt"
"""What ends in this is a single file to fetch: a pickle that its reader opens with care."""


@dataclass(frozen=True)
class Location:
    """A folder or a file.

    Attributes:
        name: As the user typed it, without its key.
        path: Where it is on this machine.
        repo: The hub repository that `path` is a part of, if it is one.
        revision: Of the repository.
        subfolder: Within the repository; of a single file its path there.
    """

    name: str
    path: Path
    repo: str | None = None
    revision: str | None = None
    subfolder: str = ""

    def file(self, relative: str) -> Path:
        """A file within, fetched if it has to be.

        Raises:
            UsageError: It is not there.
            CorruptFileError: It would be outside of the folder.
        """
        path = self.path / relative
        if self.repo is not None and not path.exists():
            inside = f"{self.subfolder}/{relative}" if self.subfolder else relative
            return _fetched(self.repo, inside, self.revision, f"{self.name}/{relative}")
        # A repository's files are links into the hub's own cache; a folder's are not to leave it.
        if self.repo is None and not path.resolve().is_relative_to(self.path.resolve()):
            raise CorruptFileError(f"{path} leads outside of {self.path}: do not use it")
        if not path.is_file():
            raise UsageError(f"{path} does not exist, though it is listed; fetch it again")
        return path


def split_key(source: str) -> tuple[str, str | None]:
    """`PLACE#key` in its two parts; quotes around the key are left out."""
    place, mark, key = source.partition("#")
    quoted = len(key) > 1 and key[0] == key[-1] and key[0] in "\"'"
    return place, (key[1:-1] if quoted else key) if mark else None


def locate(name: str) -> Location:
    """Find a path, or fetch what is needed of a hub id (`org/name@revision:subfolder`).

    A subfolder that ends in `.pt` is a single file.

    Raises:
        UsageError: There is neither.
    """
    path = Path(name).expanduser()
    if path.exists():
        return Location(name, path)
    parts = hub_id(name)
    if parts is None:
        raise UsageError(
            f"{name} does not exist; give a finetune's folder or file, STORE#task-id, or a hub id"
        )
    repo, revision, subfolder = parts
    if subfolder.endswith(_FILE):
        return Location(name, _fetched(repo, subfolder, revision, name), repo, revision, subfolder)
    patterns = [f"{subfolder}/{pattern}" if subfolder else pattern for pattern in _FETCHED]
    try:
        folder = snapshot_download(repo, revision=revision, allow_patterns=patterns)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise _not_fetched(name, error) from error
    path = Path(folder) / subfolder
    if not path.exists():
        raise UsageError(f"{repo} has no folder {subfolder}; look at what it holds on the hub")
    return Location(name, path, repo, revision, subfolder)


def _fetched(repo: str, file: str, revision: str | None, name: str) -> Path:
    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise _not_fetched(name, error) from error


def _not_fetched(name: str, error: Exception) -> UsageError:
    reason = " ".join(str(error).split())[:300]
    return UsageError(
        f"{name} does not exist here, and could not be fetched from the hub ({reason}); check the "
        "name, your connection, and that you may read it (`hf auth login` for a gated repository)"
    )
