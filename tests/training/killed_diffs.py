"""Trains a store in processes that kill themselves at chosen moments, then resumes each.

Run as `killed_diffs.py BASE FOLDER`. A moment is just before a step or a check, or just before or
after a file is flushed or renamed. Prints one JSON line for each moment, the last for a second
writer.
It forks, for importing torch anew each time would take minutes.
"""

import json
import os
import sys
from pathlib import Path

from diffspeak.errors import LockedError
from diffspeak.training import DiffConfig, train_diffs
from tests.bombs import Bomb, in_child
from tests.toys import ToyBehavior, files_of, toy_base

CONFIG = DiffConfig(steps=2, learning_rate=1e-2, tasks=2, probes=1, probe_tokens=2)
SHOWN = 3
"""Finetunes: one group of two, one of one."""


class Ticking(ToyBehavior):
    """Calls `tick` with a word for the moment."""

    def __init__(self, tick):
        super().__init__()
        object.__setattr__(self, "tick", tick)

    def samples(self, item, step):
        self.tick(f"step {step} of {item.id}")
        return super().samples(item, step)

    def probes(self, item, count):
        self.tick(f"check of {item.id}")
        return super().probes(item, count)


def train(base, folder: Path, tick=lambda what: None) -> None:
    behavior = Ticking(tick)
    train_diffs(base, behavior, behavior.items()[:SHOWN], CONFIG, folder)


def explode(base, folder: Path, moment: int, log: Path) -> None:
    bomb = Bomb(moment, log)
    bomb.around("fsync", "replace")
    train(base, folder, bomb.tick)


def killed(base, root: Path, moment: int) -> dict[str, object]:
    folder, log = root / str(moment), root / f"{moment}.log"
    status = in_child(lambda: explode(base, folder, moment, log))
    found = sorted(files_of(folder)) if folder.exists() else []
    return {
        "status": status,
        "at": log.read_text().splitlines()[-1],
        "found": found,
        "resumed": in_child(lambda: train(base, folder)),
        "same": files_of(folder) == files_of(root / "whole"),
    }


def second_writer(base, folder: Path) -> dict[str, object]:
    """Train in this process; in the middle of a step another process tries the same."""
    tried = []

    def refused() -> None:
        try:
            train(base, folder)
        except LockedError as error:
            assert f"by process {os.getppid()}" in str(error)
            os._exit(7)

    def attempt(what: str) -> None:
        if not tried:
            tried.append(os.waitstatus_to_exitcode(in_child(refused)))

    status = in_child(lambda: (train(base, folder, attempt), os._exit(tried[0])))
    return {"refused": os.waitstatus_to_exitcode(status) == 7}


def chosen(moments: list[str]) -> list[int]:
    """In a step, in a check, between groups, and around both renames of the first shard."""
    inside, check, between = (
        moments.index(what) for what in ("step 1 of toy-0", "check of toy-1", "step 0 of toy-2")
    )
    renames = [n for n in range(check, between) if moments[n].endswith("replace")]
    return [inside, check, *renames, between]


def main(base_folder: str, root: Path) -> None:
    base = toy_base(Path(base_folder))
    log = root / "whole.log"
    assert in_child(lambda: explode(base, root / "whole", 10**6, log)) == 0
    moments = log.read_text().splitlines()
    for moment in chosen(moments):
        sys.stdout.write(json.dumps(killed(base, root, moment)) + "\n")
    sys.stdout.write(json.dumps(second_writer(base, root / "locked")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
