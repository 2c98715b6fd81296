"""An error that a user can mend, in the form that inspect-ai prints in one line.

Takes our errors, gives inspect-ai's. Knows nothing of what went wrong.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape

from diffspeak.errors import DiffspeakError
from diffspeak.inspect_ext.inspect_internals import PrerequisiteError


class Refusal(DiffspeakError, PrerequisiteError):  # type: ignore[misc]
    """What was asked for cannot be done; inspect-ai shows the message without a traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # inspect-ai prints it as markup, and "[0]" in a path is none.
        self.message = escape(message)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Within this context our errors become refusals.

    Raises:
        Refusal: One of our errors was raised; it is the cause.
    """
    try:
        yield
    except Refusal:
        raise
    except DiffspeakError as error:
        raise Refusal(str(error)) from error
