"""What surrounds every stage: the run's folder with config, metrics, loss plot; its reporter."""

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from diffspeak.cli.reporter import TerminalReporter
from diffspeak.cli.session import Session
from diffspeak.errors import MismatchError, UsageError
from diffspeak.experiments.artifacts import CHOICES, SMALL
from diffspeak.io.files import exclusive, read_json
from diffspeak.io.runs import CONFIG, LOCK, METRICS, VERSIONS, Run, plot_losses, read_metrics
from diffspeak.progress import Reporter
from diffspeak.store.layout import MANIFEST, shard_numbers

ABOUT = frozenset({CONFIG, VERSIONS, METRICS, CHOICES})
"""What a call writes about itself before it makes anything."""


@contextmanager
def stage(
    session: Session, folder: Path, config: Mapping[str, Any], free: Collection[str] = ()
) -> Iterator[Reporter]:
    """Hold a run's folder while a stage works in it; draw its losses when it is done.

    A call that failed before it made anything leaves no config behind, and one that was killed
    leaves one that does not count: the mended command, with another config, is not refused.

    Args:
        session: Where to write.
        folder: The run's folder.
        config: Resolved.
        free: Sections of it that may differ from what the folder was begun with.

    Raises:
        UsageError: The folder is a URL.
        LockedError: Another process runs there.
        MismatchError: Another config ran there.
    """
    if re.match(r"\w+:/", str(folder)):
        raise UsageError(f"{folder} cannot be written: give a local folder and upload it later")
    before = _names(folder)
    with ExitStack() as held:
        try:
            run = held.enter_context(Run(folder, config, free))
        except MismatchError:
            if not _cleared(folder):
                raise
            run = held.enter_context(Run(folder, config, free))
        try:
            with TerminalReporter(session, run) as reporter:
                yield reporter
        except BaseException:
            _withdraw(folder, before)
            raise
        if read_metrics(folder):
            plot_losses(folder)


def _cleared(folder: Path) -> bool:
    """Take a config back with which nothing was made; false where something was."""
    with exclusive(folder / LOCK):
        if not _nothing_made(folder):
            return False
        for name in ABOUT:
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / SMALL, ignore_errors=True)
    return True


def _nothing_made(folder: Path) -> bool:
    """Whether all that a run's folder holds was written before anything was made."""
    if not all((folder / name).is_file() for name in (CONFIG, VERSIONS, METRICS)):
        return False
    found = read_json(folder / CONFIG)
    base = found.get("base") if isinstance(found, dict) else None
    small = SMALL if isinstance(base, dict) and base.get("shrink") else None
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if here == folder and small in folders:
            folders.remove(small)
        shown = [name for name in names if not name.startswith(".")]
        if any(_is_result(here, name) for name in shown):
            return False
        if any((here / name).is_symlink() for name in folders):
            return False
    return not read_metrics(folder)


def _is_result(place: Path, name: str) -> bool:
    if name == MANIFEST:
        return bool(shard_numbers(_names(place)))
    return name not in ABOUT


def _withdraw(folder: Path, before: set[str]) -> None:
    """Remove what this call wrote about itself, if it made nothing else."""
    made = {name for name in _names(folder) - before if not name.startswith(".")}
    if made <= ABOUT and not read_metrics(folder):
        for name in made:
            (folder / name).unlink()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
