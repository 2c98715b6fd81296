"""Errors that a user can cause, each saying what, where, what was expected and what to do next.

The command line prints their message in one line and ends with their `exit_code`.
Anything else that is raised is our own mistake.
"""


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
