"""The command line: parse, call, print; imported by nothing.

Takes arguments, gives an exit code: 0, 1 for a failure, 2 for wrong usage, 130 when stopped. What
takes long to import is imported inside the verbs, so that help is there at once.
"""

import re
import sys
from collections.abc import Sequence

from diffspeak.cli.errors import STOPPED, report
from diffspeak.cli.session import Session
from diffspeak.errors import UsageError

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: What follows the program's name; by default this process' own arguments.

    Returns:
        The exit code.
    """
    session = Session()
    args = sys.argv[1:] if args is None else args
    try:
        _refuse_empty(args)
        # Here, so that an interrupt during the import is reported as any other.
        from diffspeak.cli.app import command

        code = command().main(
            args=_globals_first(args) or ["--help"],
            prog_name="diffspeak",
            standalone_mode=False,
            obj=session,
        )
        sys.stdout.flush()
        if code == STOPPED:
            # How newer releases of typer tell of an interrupt.
            raise KeyboardInterrupt
    except BaseException as error:
        return report(error, debug=session.debug)
    return code if isinstance(code, int) else 0


def _globals_first(args: Sequence[str]) -> list[str]:
    """The options of the program itself may also stand behind the verb."""
    found = [arg for arg in args if arg in ("--debug", "--quiet")]
    return [*found, *(arg for arg in args if arg not in found)]


def _refuse_empty(args: Sequence[str]) -> None:
    """Refuse an argument without a character, which as a path would mean the current folder.

    It is what a shell makes of a variable that is not set.
    """
    for before, arg in zip(["diffspeak", *args], args, strict=False):
        if arg and not re.fullmatch(r"--[a-z-]+=", arg):
            continue
        given = arg.removesuffix("=") or before
        what = given if given.startswith("-") else f"what follows {given!r}"
        cure = "ask something" if given == "--question" else "give a value"
        raise UsageError(f"{what} is empty: {cure}, or leave it out")
