"""What a name needs of the hub: a study's base and corpora, a repository, the paper's data.

Takes what the user typed, gives the downloads with every size, and then carries them out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from diffspeak.behaviors import BehaviorConfig
from diffspeak.errors import UsageError
from diffspeak.experiments.config import BaseConfig, ExperimentConfig
from diffspeak.experiments.read import load_config
from diffspeak.hub import (
    RepoFiles,
    Repository,
    cache,
    download,
    existing,
    free_space,
    hub_id,
    size_of,
    why_not_writable,
)
from diffspeak.hub_files import list_files
from diffspeak.models.pocket import BEHAVIORS, adapter_folder, part_of
from diffspeak.models.pocket import NAME as POCKET
from diffspeak.paper_data import REPOSITORY, TABLES, convert
from diffspeak.progress import Reporter, Silent

PAPER = "paper:"
"""Starts the short names of the paper's data: `paper:hidden-topic`, `paper:news`."""
DATA = Path("data/paper")
"""Where the paper's data goes if nothing else is said."""

_BASE = re.compile(r"\w[\w.-]*(/[\w.-]+)?", re.ASCII)


@dataclass(frozen=True)
class PaperCorpora:
    """The paper's data, wanted as corpora.

    Attributes:
        behavior: One of `TABLES`.
        targets: Where each corpus goes, by its name in a config.
        table: The table they are made of.
    """

    behavior: str
    targets: Mapping[str, Path]
    table: RepoFiles


@dataclass(frozen=True)
class DownloadPlan:
    """What has to come, and what is here already.

    Attributes:
        models: Of each repository, the needed files.
        corpora: What is made of the paper's data, if it is wanted.
        notes: What is here already, in words.
    """

    models: tuple[RepoFiles, ...] = ()
    corpora: PaperCorpora | None = None
    notes: tuple[str, ...] = ()

    @property
    def repositories(self) -> tuple[RepoFiles, ...]:
        """The models', with that of the paper's data."""
        return (*self.models, *([self.corpora.table] if self.corpora else []))

    @property
    def missing(self) -> int:
        """Bytes to download."""
        return sum(found.missing for found in self.repositories)


def plan_downloads(name: str, out: Path | None = None, revision: str | None = None) -> DownloadPlan:
    """Find out what has to be fetched, and how much that is.

    Args:
        name: A study's config (`study.toml`), a hub id (`org/name@revision:subfolder`),
            `paper:hidden-topic` or `paper:news`.
        out: Folder for the paper's data, `DATA` if none is given.
        revision: Of the repository.

    Raises:
        UsageError: The name is unknown; the hub does not have it, or cannot be reached; or,
            offline, it is not whole in the cache.
    """
    if out is not None and not name.startswith(PAPER):
        raise UsageError(f"--out is for the paper's data; leave it out, {name} goes into the cache")
    if name.startswith(PAPER):
        return _for_data(name.removeprefix(PAPER), out or DATA, revision)
    if name.endswith(".toml"):
        if revision:
            raise UsageError(f"{name} says itself which revision: leave --revision out")
        return _for_study(name)
    if (part := part_of(name)) is not None and part not in BEHAVIORS:
        adapter_folder(part)
    if name and (name == POCKET or part is not None or Path(name).expanduser().exists()):
        return DownloadPlan(notes=(f"{name} is on this machine: there is nothing to fetch",))
    parts = hub_id(name)
    if parts is None:
        known = ", ".join(f"{PAPER}{behavior}" for behavior in TABLES)
        raise UsageError(
            f"{name} cannot be fetched; give a config (study.toml), a hub id such as "
            f"org/name@revision:subfolder, or one of {known}"
        )
    if revision and parts.revision:
        raise UsageError(f"{name} names a revision, and so does --revision: leave one out")
    repository = Repository(parts.repo, revision or parts.revision, parts.subfolder)
    return DownloadPlan((list_files(repository),))


def check_cache(plan: DownloadPlan) -> None:
    """Refuse to download into a cache that cannot be written.

    Raises:
        UsageError: It cannot, and something is missing in it.
    """
    fault = why_not_writable(cache()) if plan.missing else None
    if fault:
        raise UsageError(
            f"the hub's cache {cache()} cannot be written ({fault}): set HF_HUB_CACHE, or HF_HOME, "
            "to a folder that can"
        )


def check_space(plan: DownloadPlan) -> None:
    """Refuse what does not fit on the disk; a corpus is no larger than the table it is made of.

    Raises:
        UsageError: It does not fit.
    """
    needs = [(cache(), plan.missing)]
    if plan.corpora:
        folder = next(iter(plan.corpora.targets.values())).parent
        needs.append((folder, plan.corpora.table.size))
    disks = [existing(place).stat().st_dev for place, _ in needs]
    for (place, _), disk in zip(needs, disks, strict=True):
        needed = sum(size for (_, size), other in zip(needs, disks, strict=True) if other == disk)
        free = free_space(place)
        if needed > free:
            raise UsageError(
                f"{size_of(needed)} are needed on the disk of {place}, and {size_of(free)} are "
                "free: free some space, or set HF_HUB_CACHE to a folder on another disk"
            )


def carry_out(plan: DownloadPlan, reporter: Reporter | None = None) -> list[str]:
    """Download and convert.

    Args:
        plan: What has to come.
        reporter: Told about progress.

    Returns:
        What is where now, in lines.

    Raises:
        UsageError: It does not fit on the disk, the cache cannot be written, the hub refuses, or
            cannot be reached.
        DiffspeakError: The disk is full, or a file cannot be written.
    """
    reporter = reporter or Silent()
    check_cache(plan)
    check_space(plan)
    said = [f"{each.repository.name} is in {download(each, reporter)}" for each in plan.models]
    corpora = plan.corpora
    if corpora is None:
        return said
    table = download(corpora.table, reporter) / TABLES[corpora.behavior].path
    made = convert(corpora.behavior, table, corpora.targets, reporter)
    said += [f"{path}: {made.rows[name]:,} {name}" for name, path in corpora.targets.items()]
    if made.left_out:
        said.append(
            f"{made.left_out:,} rows of the table were left out, because a text is empty, too "
            "long for a label, or there twice"
        )
    return said


def _for_data(behavior: str, out: Path, revision: str | None) -> DownloadPlan:
    if behavior not in TABLES:
        known = ", ".join(f"{PAPER}{each}" for each in TABLES)
        raise UsageError(f"{PAPER}{behavior} is unknown; known are {known}")
    files = {name: out.expanduser() / file for name, file in TABLES[behavior].files.items()}
    return _for_corpora(behavior, files, revision)


def _for_corpora(
    behavior: str, files: Mapping[str, Path], revision: str | None = None
) -> DownloadPlan:
    """The corpora that are missing; those that are there stay as they are."""
    notes = tuple(f"{path} is there already" for path in files.values() if path.is_file())
    targets = {name: path for name, path in files.items() if not path.is_file()}
    if not targets:
        return DownloadPlan(notes=notes)
    table = Repository(REPOSITORY, revision, kind="dataset", files=(TABLES[behavior].path,))
    return DownloadPlan((), PaperCorpora(behavior, targets, list_files(table)), notes)


def _for_study(name: str) -> DownloadPlan:
    config = load_config(name, (), ExperimentConfig)
    behavior = config.behavior
    files = _corpora_of(behavior) if behavior else {}
    if behavior:
        _check_published(name, behavior.name, files)
    base = _for_base(name, config.base)
    if behavior is None or all(path.is_file() for path in files.values()):
        return replace(base, notes=(*base.notes, f"no corpus of {name} is missing"))
    corpora = _for_corpora(behavior.name, files)
    return replace(corpora, models=base.models, notes=(*base.notes, *corpora.notes))


def _for_base(name: str, base: BaseConfig) -> DownloadPlan:
    if base.source == POCKET or Path(base.source).expanduser().is_dir():
        return DownloadPlan(notes=(f"the base {base.source} is on this machine",))
    if _BASE.fullmatch(base.source) is None:
        raise UsageError(
            f"{name}: base.source {base.source!r} is neither a folder here nor a hub id; mend it"
        )
    return DownloadPlan((list_files(Repository(base.source, base.revision)),))


def _corpora_of(behavior: BehaviorConfig) -> dict[str, Path]:
    """The files that a behavior reads, by their names in the config."""
    found = {name: getattr(behavior, name) for name in type(behavior).model_fields}
    return {name: path for name, path in found.items() if isinstance(path, Path)}


def _check_published(name: str, behavior: str, files: Mapping[str, Path]) -> None:
    """Refuse a study that misses files which the paper does not have."""
    ours = TABLES[behavior].files if behavior in TABLES else {}
    missing = {field: path for field, path in files.items() if not path.is_file()}
    foreign = sorted(missing.keys() - ours.keys())
    if foreign:
        raise UsageError(
            f"{name}: there is no file {missing[foreign[0]]}, and the paper published no "
            f"{foreign[0]} for {behavior}: write it, or name another as behavior.{foreign[0]}"
        )
    if "questions" in missing and "answers" not in files:
        raise UsageError(
            f"{name}: the paper's questions come with answers: name a file for them, too, as "
            "behavior.answers, such as answers.jsonl"
        )
