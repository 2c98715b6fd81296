"""What surrounds every stage: a run's folder with config, metrics and loss plot, and its reporter.

Takes a folder and the resolved config, gives a reporter. Knows nothing of what the stage does.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffspeak.cli.reporter import TerminalReporter
from diffspeak.cli.session import Session
from diffspeak.errors import UsageError
from diffspeak.progress import Reporter
from diffspeak.runs import CONFIG, METRICS, VERSIONS, Run, plot_losses, read_metrics
from diffspeak.study.bases import CHOICES


@contextmanager
def stage(
    session: Session, folder: Path, config: Mapping[str, Any], free: Collection[str] = ()
) -> Iterator[Reporter]:
    """Hold a run's folder while a stage works in it; draw its losses when it is done.

    A call that failed before it made anything leaves no config behind, so that the mended
    command, with another config, is not refused.

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
    with Run(folder, config, free) as run:
        try:
            with TerminalReporter(session, run) as reporter:
                yield reporter
        except BaseException:
            _withdraw(folder, before)
            raise
        if read_metrics(folder):
            plot_losses(folder)


def _withdraw(folder: Path, before: set[str]) -> None:
    """Remove what this call wrote about itself, if it made nothing else."""
    made = {name for name in _names(folder) - before if not name.startswith(".")}
    about = {CONFIG, VERSIONS, METRICS, CHOICES}
    if made <= about and not read_metrics(folder):
        for name in made:
            (folder / name).unlink()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
