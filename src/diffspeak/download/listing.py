"""What is needed of a hub repository: which files, how big they are, and which are here already.

Takes a repository, gives a listing; from the hub or, offline, from its cache. Knows nothing of
what is in the files.
"""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import RepoSibling

from diffspeak.download.needed import KNOWN, PICKLE, TENSORS, choose, folders, lacking
from diffspeak.download.repository import Repository, cache, explained, is_offline
from diffspeak.errors import CorruptFileError, UsageError

_SHOWN = 5
"""How many names an error spells out."""


@dataclass(frozen=True)
class File:
    """A file of a repository: its path there, its size in bytes, and whether it is here already."""

    name: str
    size: int
    here: bool


@dataclass(frozen=True)
class Listing:
    """What is needed of a repository.

    Attributes:
        repository: Which.
        commit: The revision's, in full.
        files: The needed ones.
        closed: Why the hub does not give them, if it does not.
    """

    repository: Repository
    commit: str
    files: tuple[File, ...]
    closed: UsageError | None = None

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)

    @property
    def missing(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files if not file.here)

    @property
    def is_here(self) -> bool:
        """Whether there is nothing to download."""
        return all(file.here for file in self.files)


def list_files(repository: Repository) -> Listing:
    """Ask the hub for the needed files and their sizes; offline, look into the cache.

    Raises:
        UsageError: There is no such repository or revision, nothing in it that we know, or no
            connection; offline, it is not whole in the cache.
    """
    if is_offline():
        return _listed_in_cache(repository)
    api = HfApi()
    with explained(repository):
        ask = api.dataset_info if repository.kind == "dataset" else api.model_info
        info = ask(repository.id, revision=repository.revision, files_metadata=True)
    found = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    commit = info.sha or repository.revision or constants.DEFAULT_REVISION
    odd = [name for name in (commit, *found) if _leaves(name)]
    if odd:
        raise CorruptFileError(
            f"{repository.name} names {odd[0][:60]!r}, which no repository can hold: do not use it"
        )
    files = tuple(
        File(name, found[name].size or 0, _is_here(repository, commit, found[name]))
        for name in _chosen(repository, list(found))
    )
    return Listing(repository, commit, files, _closed(api, repository) if info.gated else None)


def _leaves(name: str) -> bool:
    """Whether a path would lead out of its folder, or is none."""
    return not name.isprintable() or name.startswith("/") or ".." in name.split("/")


def _chosen(repository: Repository, names: list[str]) -> list[str]:
    """The needed files; refused where there are none, or none that holds weights."""
    if repository.files:
        absent = sorted(set(repository.files) - set(names))
        if absent:
            raise UsageError(f"{repository.name} has no {absent[0]}: try another --revision")
        return list(repository.files)
    chosen = choose(names, repository.subfolder)
    if not chosen:
        inner = folders(names, repository.subfolder)
        named = f"name one of its folders: {_few(inner)}" if inner else "check the name"
        raise UsageError(f"{repository.name} holds nothing to fetch, that is {KNOWN}; {named}")
    if repository.subfolder not in chosen and not any(
        name.endswith((TENSORS, PICKLE)) for name in chosen
    ):
        raise UsageError(
            f"{repository.name} has no weights as safetensors, and other files can run code when "
            "they are opened: look for a revision that has them"
        )
    return chosen


def _is_here(repository: Repository, commit: str, sibling: RepoSibling) -> bool:
    """Whether a file is in the cache, be it as a part of another revision."""
    storage, blob = repository.storage, sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    places = [storage / "snapshots" / commit / sibling.rfilename]
    if blob:
        places.append(storage / "blobs" / blob)
    try:
        return any(place.is_file() for place in places)
    except PermissionError:
        return False


def _closed(api: HfApi, repository: Repository) -> UsageError | None:
    """Why a gated repository is not open to this user, if it is not."""
    try:
        with explained(repository):
            api.auth_check(repository.id, repo_type=repository.kind)
    except UsageError as error:
        return error
    return None


def _listed_in_cache(repository: Repository) -> Listing:
    snapshot = _snapshot(repository)
    forbidden = "HF_HUB_OFFLINE=1 forbids to download: unset it and run the same command again"
    if snapshot is None:
        raise UsageError(f"{repository.name} is not in {cache()}, and {forbidden}")
    names = sorted(
        path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()
    )
    files = repository.files or ((repository.subfolder,) if repository.subfolder in names else ())
    absent = [name for name in files if name not in names]
    if not files:
        absent = lacking(snapshot / repository.subfolder)
    if absent:
        raise UsageError(f"{repository.name} in {cache()} lacks {_few(absent)}, and {forbidden}")
    chosen = files or choose(names, repository.subfolder)
    sizes = [(snapshot / name).stat().st_size for name in chosen]
    return Listing(
        repository,
        snapshot.name,
        tuple(File(name, size, True) for name, size in zip(chosen, sizes, strict=True)),
    )


def _snapshot(repository: Repository) -> Path | None:
    """The cache's folder of a revision, whole or not."""
    revision = repository.revision or constants.DEFAULT_REVISION
    ref = repository.storage / "refs" / revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    folder = repository.storage / "snapshots" / commit
    return folder if folder.is_dir() else None


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
