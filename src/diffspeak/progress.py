"""How a stage tells what it is doing: to a person by a bar, to a file by metrics.

The stages call a `Reporter`; who watches is decided by the caller. `Silent` is for programs; the
command line brings one that draws bars.
"""

from typing import Protocol


class Reporter(Protocol):
    """Somebody who watches a stage."""

    def begin(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        """A stage starts: `total` units in all, `done` of them by an earlier run."""
        ...

    def advance(self, count: int = 1, **numbers: float) -> None:
        """So many more units are done; `numbers` are shown beside the bar."""
        ...

    def log(self, stage: str, step: int, **numbers: float) -> None:
        """Keep measured numbers of a step; losses are in nats per answer token."""
        ...

    def say(self, text: str) -> None:
        """Tell something worth a line."""
        ...

    def end(self) -> None:
        """The stage that began last is over."""
        ...


class Silent:
    """Watches nothing."""

    def begin(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        """Ignore it."""

    def advance(self, count: int = 1, **numbers: float) -> None:
        """Ignore it."""

    def log(self, stage: str, step: int, **numbers: float) -> None:
        """Ignore it."""

    def say(self, text: str) -> None:
        """Ignore it."""

    def end(self) -> None:
        """Ignore it."""
