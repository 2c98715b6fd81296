"""Show a stage's progress: bars on a terminal, else a line now and then; hand numbers to the run.

Takes what stages tell their `Reporter`. Rates and times are of this call; memory is the peak of
this process and, on CUDA, what is allocated now.
"""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from diffspeak.cli.session import Session
from diffspeak.io.runs import Run

if TYPE_CHECKING:
    from diffspeak.cli.bars import Bars

EVERY = 10.0
"""Seconds between lines where there are no bars."""


@dataclass
class Stage:
    """A stage on its way.

    Attributes:
        name: What it is called.
        total: How many units there are in all.
        unit: What they are.
        done: How many are done.
        before: How many an earlier call had done.
        began: When this call began, in seconds of the reporter's clock.
        numbers: What was measured last, by name.
    """

    name: str
    total: int
    unit: str
    done: int
    before: int
    began: float
    numbers: dict[str, float] = field(default_factory=dict)

    def words(self, now: float) -> str:
        """Done of total, rate, time left and memory."""
        parts = [f"{self.done}/{self.total} {self.unit}"]
        seconds, made = now - self.began, self.done - self.before
        if seconds > 0 and made > 0:
            left = round((self.total - self.done) * seconds / made)
            parts.append(_rate(made / seconds))
            parts.append(f"{timedelta(seconds=left)} left" if left else f"took {_span(seconds)}")
        return ", ".join([*parts, *memory()])

    def beside(self) -> str:
        """The numbers, in the order in which they came."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.numbers.items())


class TerminalReporter:
    """A `Reporter` for people; use it as a context manager.

    Args:
        session: Says where messages go, and whether any are wanted.
        run: Keeps what is logged; nothing does if there is none.
        clock: Seconds, of any beginning.
    """

    def __init__(
        self,
        session: Session,
        run: Run | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._quiet = session.messages, session.quiet
        self._run, self._clock = run, clock
        self._stages: list[Stage] = []
        self._bars: Bars | None = None
        self._spoke = clock()

    def __enter__(self) -> "TerminalReporter":
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bars down, whatever happened."""
        self._stages.clear()
        self._draw()

    def begin(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        """See `Reporter`."""
        self._spoke = self._clock()
        self._stages.append(Stage(stage, total, unit, done, done, self._spoke))
        self._draw()

    def advance(self, count: int = 1, **numbers: float) -> None:
        """See `Reporter`."""
        if self._stages:
            self._stages[-1].done += count
            self._stages[-1].numbers |= numbers
            self._draw()

    def log(self, stage: str, step: int, **numbers: float) -> None:
        """See `Reporter`."""
        if self._run is not None:
            self._run.log(stage=stage, step=step, **numbers)

    def say(self, text: str) -> None:
        """See `Reporter`."""
        if not self._quiet:
            self._console.print(text, soft_wrap=True)

    def end(self) -> None:
        """See `Reporter`."""
        if self._stages:
            stage = self._stages.pop()
            self._draw()
            self._tell(stage)

    def _draw(self) -> None:
        """Show the state: bars where they can be drawn, else a line if the last one is old."""
        if self._quiet:
            return
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            from diffspeak.cli.bars import Bars

            self._bars = self._bars or Bars(self._console)
            self._bars.show(self._stages, self._clock())
        elif self._stages and self._clock() - self._spoke >= EVERY:
            self._tell(self._stages[-1])

    def _tell(self, stage: Stage) -> None:
        self._spoke = self._clock()
        beside = f"; {stage.beside()}" if stage.numbers else ""
        self.say(f"{stage.name}: {stage.words(self._spoke)}{beside}")


def memory() -> list[str]:
    """Peak memory of this process and, on CUDA, what is allocated."""
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    found = [f"{peak / 1e9:.1f} GB"]
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found.append(f"GPU {torch.cuda.memory_allocated() / 1e9:.1f} GB")
    return found


def _rate(per_second: float) -> str:
    if per_second >= 0.1:
        return f"{per_second:.3g}/s"
    return f"{per_second * 60:.3g}/min"


def _span(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
