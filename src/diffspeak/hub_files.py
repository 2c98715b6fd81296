"""Which files of a hub repository are needed, how big they are, and which are cached already.

Never chosen are code and pickles, but for the paper's own `.pt` files and the `.bin` of adapters
that have nothing else.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, constants

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes.formats.checkpoint import INDEX as SHARDS
from diffspeak.finetunes.formats.checkpoint import SINGLE
from diffspeak.finetunes.formats.mlx import WEIGHTS as MLX
from diffspeak.finetunes.formats.peft_files import CONFIG as ADAPTER
from diffspeak.finetunes.formats.peft_files import PICKLED, WEIGHTS
from diffspeak.finetunes.formats.published import INDEX as PUBLISHED
from diffspeak.finetunes.formats.published import read_index
from diffspeak.hub import HubFile, RepoFiles, Repository, cache, explained, is_seen
from diffspeak.io.files import read_json
from diffspeak.store import open_store
from diffspeak.store.layout import MANIFEST as STORE
from diffspeak.store.layout import full_name, tensors_name

MODEL = "config.json"
KNOWN = f"a model ({MODEL}), a PEFT adapter ({ADAPTER}), a store ({STORE}) or the paper's finetunes"
KNOWN += f" ({PUBLISHED})"
"""What a folder may hold, in words."""
TENSORS, PICKLE = ".safetensors", ".pt"
_OF_MODELS = frozenset({TENSORS, ".json", ".model", ".txt", ".tiktoken", ".jinja"})
_OF_STORES = frozenset({TENSORS, ".json", ".jsonl"})
_SINGLE_FILES = frozenset({PICKLE, ".csv"}) | _OF_MODELS | _OF_STORES
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_SHOWN = 5
"""How many names an error spells out."""


def list_files(repository: Repository) -> RepoFiles:
    """Ask the hub for the needed files and their sizes; offline, look into the cache.

    Raises:
        UsageError: There is no such repository or revision, nothing in it that we know, or no
            connection; offline, it is not whole in the cache.
    """
    if constants.HF_HUB_OFFLINE:
        return _listed_in_cache(repository)
    api = HfApi()
    with explained(repository):
        ask = api.dataset_info if repository.kind == "dataset" else api.model_info
        info = ask(repository.id, revision=repository.revision, files_metadata=True)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    commit = info.sha or repository.revision or constants.DEFAULT_REVISION
    odd = [name for name in (commit, *siblings) if _leaves(name)]
    if odd:
        raise CorruptFileError(
            f"{repository.name} names {odd[0][:60]!r}, which no repository can hold: do not use it"
        )
    storage, files = repository.storage, []
    for name in _chosen(repository, list(siblings)):
        lfs, blob = siblings[name].lfs, siblings[name].blob_id
        # A file may be here as a part of another revision.
        places = [storage / "snapshots" / commit / name]
        places += [storage / "blobs" / digest for digest in [lfs.sha256 if lfs else blob] if digest]
        files.append(HubFile(name, siblings[name].size or 0, any(map(is_seen, places))))
    closed = _why_closed(api, repository) if info.gated else None
    return RepoFiles(repository, commit, tuple(files), closed)


def _leaves(name: str) -> bool:
    """Whether a path would lead out of its folder, or is none."""
    return not name.isprintable() or name.startswith("/") or ".." in name.split("/")


def _why_closed(api: HfApi, repository: Repository) -> UsageError | None:
    """Why a gated repository is not open to this user, if it is not."""
    try:
        with explained(repository):
            api.auth_check(repository.id, repo_type=repository.kind)
    except UsageError as error:
        return error
    return None


def _listed_in_cache(repository: Repository) -> RepoFiles:
    revision = repository.revision or constants.DEFAULT_REVISION
    ref = repository.storage / "refs" / revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    snapshot = repository.storage / "snapshots" / commit
    forbidden = "HF_HUB_OFFLINE=1 forbids to download: unset it and run the same command again"
    if not snapshot.is_dir():
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
    found = [HubFile(name, (snapshot / name).stat().st_size, True) for name in chosen]
    return RepoFiles(repository, snapshot.name, tuple(found))


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
    if repository.subfolder not in chosen and not _ending(chosen, {TENSORS, PICKLE}):
        raise UsageError(
            f"{repository.name} has no weights as safetensors, and other files can run code when "
            "they are opened: look for a revision that has them"
        )
    return chosen


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def choose(names: Collection[str], subfolder: str = "") -> list[str]:
    """The files that are needed of a repository, sorted; none if there is nothing we know.

    Args:
        names: Of all its files.
        subfolder: The folder in it that is meant, or a single file.
    """
    if subfolder in names:
        return [subfolder] if PurePosixPath(subfolder).suffix in _SINGLE_FILES else []
    start = f"{subfolder}/" if subfolder else ""
    inside = {name.removeprefix(start) for name in names if name.startswith(start)}
    return sorted(start + name for name in _needed(inside))


def folders(names: Collection[str], subfolder: str = "") -> list[str]:
    """The folders that stand directly in a folder of a repository, sorted."""
    start = f"{subfolder}/" if subfolder else ""
    inside = [name.removeprefix(start) for name in names if name.startswith(start)]
    return sorted({name.split("/")[0] for name in inside if "/" in name})


def _needed(names: Collection[str]) -> Collection[str]:
    """Told by the same files, in the same order, as a finetune's format is when it is opened."""
    top = {name for name in names if "/" not in name}
    if ADAPTER in top:
        old = {PICKLED} & top if not _ending(top, {TENSORS}) else set()
        return _ending(top, _OF_MODELS) | old
    if STORE in top:
        return _ending(names, _OF_STORES)
    if PUBLISHED in top:
        return {PUBLISHED, *_ending(names, {PICKLE})}
    return _once(_ending(top, _OF_MODELS)) if MODEL in top else ()


def _ending(names: Collection[str], suffixes: Collection[str]) -> set[str]:
    return {name for name in names if PurePosixPath(name).suffix in suffixes}


def _once(names: set[str]) -> set[str]:
    """A model's files without a second copy of its weights under another name."""
    tensors = _ending(names, {TENSORS})
    if SINGLE in tensors:
        return names - tensors | {SINGLE}
    shards = {name for name in tensors if re.match(r"model.*-of-\d+", name)}
    return names - tensors | shards if SHARDS in names and shards else names


def lacking(folder: Path) -> list[str]:
    """What a folder needs beyond what it holds, by what is there; none if it is whole.

    Raises:
        CorruptFileError: A file that lists the others is broken.
    """
    return list(dict.fromkeys(name for name in _listed(folder) if not (folder / name).is_file()))


def _listed(folder: Path) -> Iterator[str]:
    """What has to be there."""
    if (folder / ADAPTER).is_file():
        if not any((folder / name).is_file() for name in (PICKLED, MLX)):
            yield WEIGHTS
    elif (folder / STORE).is_file():
        for entry in open_store(str(folder)).entries:
            if entry.kind != "failed":
                full = f"{full_name(entry.shard)}/{SINGLE}"
                yield full if entry.kind == "full" else tensors_name(entry.shard)
    elif (folder / PUBLISHED).is_file():
        yield from (row.file for row in read_index(folder / PUBLISHED))
    else:
        yield MODEL
        yield from _weights(folder)
        if not any((folder / name).is_file() for name in _TOKENIZERS):
            yield _TOKENIZERS[0]


def _weights(folder: Path) -> Iterator[str]:
    if (folder / SINGLE).is_file() or not (folder / SHARDS).is_file():
        if not any(folder.glob(f"*{TENSORS}")):
            yield SINGLE
        return
    found = read_json(folder / SHARDS)
    names = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise CorruptFileError(f"{folder / SHARDS} names no files: remove it and fetch it again")
    yield from sorted(set(names.values()))
