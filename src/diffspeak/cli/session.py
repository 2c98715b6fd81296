"""What the global options say, and where a command writes: results to stdout, the rest to stderr.

Takes the options, gives consoles and a place for log messages. Knows nothing of the verbs.
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from diffspeak.memory import keep_freed_memory

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class Session:
    """One call of the program.

    Attributes:
        debug: Show tracebacks and all messages.
        quiet: Show results, warnings and errors only.
    """

    debug: bool = False
    quiet: bool = False

    @cached_property
    def results(self) -> "Console":
        """Where results go: stdout, plain when it is not a terminal."""
        return _console(stderr=False)

    @cached_property
    def messages(self) -> "Console":
        """Where all else goes: stderr."""
        return _console(stderr=True)

    @property
    def level(self) -> int:
        """Which log messages are shown."""
        if self.debug:
            return logging.DEBUG
        return logging.WARNING if self.quiet else logging.INFO

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Within this context our log messages are shown, and other libraries keep still."""
        # Read by the libraries when they are imported.
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        keep_freed_memory()
        log, handler = logging.getLogger("diffspeak"), _Handler(self)
        before = log.level
        log.addHandler(handler)
        log.setLevel(self.level)
        try:
            with warnings.catch_warnings():
                if not self.debug:
                    for kind in (FutureWarning, DeprecationWarning):
                        warnings.simplefilter("ignore", kind)
                yield
        finally:
            log.removeHandler(handler)
            log.setLevel(before)


class _Handler(logging.Handler):
    """Writes log messages to a session's console, above its progress bars."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def emit(self, record: logging.LogRecord) -> None:
        label = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        self.session.messages.print(f"{label}{record.getMessage()}", soft_wrap=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False)
