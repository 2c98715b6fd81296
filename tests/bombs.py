"""Processes that kill themselves at a chosen moment, for tests of what is left and goes on.

Takes work to do and the number of a moment. It forks, for importing torch anew takes seconds;
the process that forks must not have used torch's threads.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import diffspeak


class Bomb:
    """Kills this process at the n-th moment; writes down the moments before."""

    def __init__(self, moment: int, log: Path) -> None:
        self.left, self.log = moment, log

    def tick(self, what: str) -> None:
        """A moment has come."""
        self.left -= 1
        with self.log.open("a") as file:
            file.write(what + "\n")
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, *names: str) -> None:
        """Tick before and after calls of the system, such as `replace`."""
        for name in names:
            setattr(os, name, self._wrapped(name, getattr(os, name)))

    def _wrapped(self, name, call):
        def wrapped(*args, **kwargs):
            self.tick(f"before {name}")
            result = call(*args, **kwargs)
            self.tick(f"after {name}")
            return result

        return wrapped


def in_child(work) -> int:
    """Run `work` in a process of its own; 0 if it ended well, else how it ended."""
    # What is still in a buffer would be printed by the child as well.
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]


def run_module(name: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a module of the tests in a fresh process with one thread."""
    paths = [str(Path(diffspeak.__file__).parents[1]), str(Path(__file__).parents[1])]
    return subprocess.run(
        [sys.executable, "-m", name, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
