"""What a command that failed says, and its exit code.

Takes whatever was raised; writes one line to stderr, or the traceback too if asked for.
"""

import errno
import os
import sys
import traceback
from contextlib import suppress

from diffspeak.errors import DiffspeakError, shortened

FULL = (errno.ENOSPC, errno.EDQUOT)

STOPPED = 130
"""What shells give a program that was interrupted: 128 and the signal's number."""


def report(error: BaseException, *, debug: bool) -> int:
    """Tell the user about an error.

    Args:
        error: What ended the command.
        debug: Whether to show the traceback.

    Returns:
        The exit code.
    """
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        _forget_stdout()
        return 1
    message, code = _explained(error, debug)
    # The reader of stderr may be gone as well.
    with suppress(OSError):
        if debug:
            traceback.print_exception(error)
        sys.stderr.write(f"diffspeak: {message}\n")
        sys.stderr.flush()
    return code


def _explained(error: BaseException, debug: bool) -> tuple[str, int]:
    if isinstance(error, DiffspeakError):
        return str(error), error.exit_code
    # The parser raises its own kinds of error, which typer does not export.
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return "stopped; run the same command again to go on", STOPPED
    if hasattr(error, "format_message"):
        return _usage(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return "a path begins with ~ and names no user's home: write it out", 2
    if isinstance(error, OSError) and error.errno in FULL:
        # Nobody's file: what the command prints, or what a library writes for itself.
        return "no space left to write: free some space and run the same command again", 1
    more = "" if debug else "; run again with --debug to see where"
    return f"unexpected {type(error).__name__}: {shortened(error)}{more}", 1


def _usage(error: BaseException) -> tuple[str, int]:
    """A parser's error: wrong options or arguments."""
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    message = message.replace("Value error, ", "").rstrip(".")
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "diffspeak"
    return f"{message} (see {path} --help)", getattr(error, "exit_code", 2)


def _forget_stdout() -> None:
    """Nobody reads on: have Python's last flush go nowhere instead of failing."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
