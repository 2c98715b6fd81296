"""Progress bars of the stages on a terminal, the numbers of the last one below.

Takes stages as the reporter keeps them. Knows nothing of how they are counted.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

if TYPE_CHECKING:
    from diffspeak.cli.reporter import Stage


class Bars(Progress):
    """One bar for each stage that has begun and not ended."""

    def __init__(self, console: Console) -> None:
        # Before the parent's, which draws already.
        self._below = ""
        self._rows: list[TaskID] = []
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[words]}", markup=False),
            console=console,
            transient=True,
        )

    def show(self, stages: "Sequence[Stage]", now: float) -> None:
        """Draw the stages as they are; take the display down when there are none."""
        while len(self._rows) > len(stages):
            self.remove_task(self._rows.pop())
        for stage in stages[len(self._rows) :]:
            self._rows.append(self.add_task(stage.name, total=stage.total, words=""))
        for row, stage in zip(self._rows, stages, strict=True):
            self.update(row, completed=stage.done, words=stage.words(now))
        self._below = stages[-1].beside() if stages else ""
        if stages:
            self.start()
        else:
            self.stop()

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, and a line below them."""
        yield from super().get_renderables()
        if self._below:
            yield Text(f"  {self._below}", overflow="ellipsis", no_wrap=True)
