"""Finetunes that a command leaves out because they break it: told one by one, counted at the end.

Of a source that holds one finetune the error itself is raised.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import typer

from diffspeak.cli.session import Session
from diffspeak.errors import DiffspeakError, MismatchError, UsageError, reason_of
from diffspeak.text.plain import one_line

if TYPE_CHECKING:
    from diffspeak.finetunes import Finetune, Source
    from diffspeak.models import Base

WorkResult = TypeVar("WorkResult")
Work = Callable[[Sequence["Finetune"]], Sequence[WorkResult]]
"""Gives a result for each of some finetunes."""

NO_NUMBERS = (
    "the finetune gives no finite numbers on this base (they overflow), so it says nothing: its "
    "weights are far too large, or damaged"
)

TOLD = 10
"""So many are told with their reason; where a folder is of another base, all have the same one."""


class LeftOut:
    """Keeps count of those that are left out.

    Args:
        session: Where to tell of them.
        count: How many finetunes there are in all.
    """

    def __init__(self, session: Session, count: int) -> None:
        self._session, self._count = session, count
        self._left = 0

    def read(self, source: "Source", base: "Base") -> "Iterator[Finetune]":
        """The finetunes of a source that can be read, one after the other."""
        for key in source.keys:
            try:
                finetune = source.read(key, base)
            except Exception as error:
                # A stranger's file may break its reader in ways that nobody thought of.
                name = f"{source.name}#{key}" if key and "#" not in source.name else source.name
                self._add(name, error, "it cannot be read")
                continue
            yield finetune

    def worked(
        self,
        finetunes: "Iterator[Finetune]",
        size: int,
        work: Work[WorkResult],
        finite: Callable[[WorkResult], bool],
    ) -> "Iterator[tuple[Finetune, WorkResult]]":
        """Work on finetunes together; where that fails, on each alone, to find the one at fault.

        Args:
            finetunes: Any number.
            size: How many at a time.
            work: Gives a result for each.
            finite: Whether a result rests on numbers; without them it means nothing, and is left
                out.

        Raises:
            UsageError: The work itself was wanted wrongly.
            MismatchError: It cannot be done on finetunes of this kind.
        """
        while part := list(islice(finetunes, size)):
            for finetune, result in self._together(part, work):
                if finite(result):
                    yield finetune, result
                else:
                    self._add(finetune.name, DiffspeakError(NO_NUMBERS), "")

    def _together(
        self, part: "Sequence[Finetune]", work: Work[WorkResult]
    ) -> "Iterator[tuple[Finetune, WorkResult]]":
        found = self._tried(part, work)
        if found is not None:
            yield from zip(part, found, strict=True)
            return
        for finetune in part if len(part) > 1 else ():
            alone = self._tried([finetune], work)
            yield from ((finetune, result) for result in alone or ())

    def _tried(
        self, part: "Sequence[Finetune]", work: Work[WorkResult]
    ) -> Sequence[WorkResult] | None:
        try:
            return work(part)
        except (UsageError, MismatchError):
            raise
        except Exception as error:
            if len(part) == 1:
                self._add(part[0].name, error, "it breaks what looks at it")
            return None

    def _add(self, name: str, error: Exception, what: str) -> None:
        if self._count == 1:
            raise error
        self._left += 1
        if self._left <= TOLD:
            told = one_line(f"left out {name}: {reason_of(error, what)}")
            self._session.messages.print(told, soft_wrap=True)

    def end(self) -> None:
        """Say how many were left out, if any were.

        Raises:
            typer.Exit: Some were; the exit code is that of a failure.
        """
        if self._left:
            told = f"{self._left} of {self._count} finetunes were left out"
            self._session.messages.print(told)
            raise typer.Exit(1)
