"""Errors that a user can cause, each saying what, where, what was expected and what to do next.

The command line prints their message in one line and ends with their `exit_code`.
Anything else that is raised is our own mistake.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager


class DiffspeakError(Exception):
    """Something failed that the user can mend; the message says how."""

    exit_code = 1


class UsageError(DiffspeakError):
    """A bad argument, an unknown name or a faulty config."""

    exit_code = 2


class CorruptFileError(DiffspeakError):
    """A file is truncated, was changed, or is not what its name says."""


class MismatchError(DiffspeakError):
    """Two things do not belong together: another base, other settings, other shapes."""


class LockedError(DiffspeakError):
    """Another process is writing to the same place."""


LONGEST = 400
"""Characters of an unexpected error's message that are shown."""


def reason_of(error: BaseException, what: str) -> str:
    """Why something failed, on one line.

    Args:
        error: What was raised.
        what: That failed, told where the error is not one for users, together with its kind.
    """
    if isinstance(error, DiffspeakError):
        return str(error)
    return f"{what} ({type(error).__name__}: {shortened(error)})"


def shortened(error: BaseException) -> str:
    """An error's message, on one line and no longer than a terminal shows at once."""
    text = " ".join(str(error).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@contextmanager
def system_errors() -> Iterator[None]:
    """Within this context what the system refused is an OSError, whoever was told of it.

    Libraries written in Rust (safetensors, tokenizers) raise errors of their own, which tell the
    system's number in their text alone.
    """
    try:
        yield
    except Exception as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None or isinstance(error, DiffspeakError):
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
