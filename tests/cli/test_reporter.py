"""Progress for people: lines where output is plain, bars on a terminal, metrics for the run."""

import io
import logging
import time

import pytest
from rich.console import Console

from diffspeak.cli.reporter import TerminalReporter
from diffspeak.cli.session import Session
from diffspeak.io.runs import Run, read_metrics


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def session() -> Session:
    session = Session()
    session.__dict__["messages"] = Console(file=io.StringIO(), width=100, emoji=False, markup=False)
    return session


def text(session: Session) -> str:
    return session.messages.file.getvalue()


def test_lines_now_and_then_with_rate_and_time_left(session):
    clock = Clock()
    with TerminalReporter(session, clock=clock) as reporter:
        reporter.begin("diffs", 30, "finetunes", done=10)
        for second in range(1, 21):
            clock.now = float(second)
            reporter.advance(1, loss=2.0)
        reporter.end()
    first, second, last = text(session).splitlines()
    assert first.startswith("diffs: 20/30 finetunes, 1/s, 0:00:10 left, ")
    assert second.startswith("diffs: 30/30 finetunes, 1/s, took 0:00:20, ")
    assert last.startswith("diffs: 30/30") and last.endswith(" GB; loss 2")


def test_slow_rates_are_told_by_the_minute_and_unknown_ones_not_at_all(session):
    clock = Clock()
    with TerminalReporter(session, clock=clock) as reporter:
        reporter.begin("a", 10, "steps")
        clock.now = 11.0
        reporter.advance(0)
        clock.now = 60.0
        reporter.advance(1)
    first, second = text(session).splitlines()
    assert "/s" not in first and "left" not in first
    assert "1/10 steps, 1/min, 0:09:00 left" in second


def test_stages_inside_stages(session):
    with TerminalReporter(session, clock=Clock()) as reporter:
        reporter.begin("outer", 2, "parts")
        reporter.begin("inner", 1, "steps")
        reporter.advance()
        reporter.end()
        reporter.advance(2)
        reporter.end()
        reporter.end()
    inner, outer = text(session).splitlines()
    assert inner.startswith("inner: 1/1") and outer.startswith("outer: 2/2")


def test_numbers_go_to_the_run_and_quiet_says_nothing(session, tmp_path):
    session.quiet = True
    with Run(tmp_path, {}) as run, TerminalReporter(session, run, Clock()) as reporter:
        reporter.begin("diffs", 1, "finetunes")
        reporter.log("diffs", 3, loss=1.5)
        reporter.say("something")
        reporter.advance()
        reporter.end()
    assert read_metrics(tmp_path) == [{"stage": "diffs", "step": 3, "loss": 1.5}]
    assert text(session) == ""


def test_bars_on_a_terminal_come_down_whatever_happens(session):
    console = Console(
        file=io.StringIO(),
        force_terminal=True,
        width=80,
        markup=False,
        highlight=False,
        _environ={},
    )
    session.__dict__["messages"] = console
    clock = Clock()
    with pytest.raises(KeyboardInterrupt), TerminalReporter(session, clock=clock) as reporter:
        reporter.begin("diffs", 4, "finetunes")
        clock.now = 2.0
        reporter.advance(2, loss=3.25)
        time.sleep(0.3)  # it draws ten times a second
        reporter.say("half of [it]")
        raise KeyboardInterrupt
    drawn = console.file.getvalue()
    assert "2/4 finetunes, 1/s, 0:00:02 left" in drawn and "loss 3.25" in drawn
    assert "half of [it]" in drawn
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert drawn.count(hidden) == drawn.count(shown) == 1


def test_our_log_messages_are_shown_and_the_handler_goes_away(session):
    log = logging.getLogger("diffspeak.anything")
    with session.prepared():
        log.info("a fact")
        log.warning("a [doubt]")
        log.debug("a detail")
    log.info("too late")
    assert text(session) == "a fact\nwarning: a [doubt]\n"
    assert not logging.getLogger("diffspeak").handlers
