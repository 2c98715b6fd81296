"""Trains an adapter in processes that kill themselves at chosen moments, then resumes each.

Run as `killed_adapter.py BASE FOLDER`. A moment is the end of a step, or just before or after a
file is flushed or renamed. Prints one JSON line for each.
"""

import json
import sys
from pathlib import Path

from diffspeak.store import open_store
from diffspeak.training import AdapterConfig, train_adapter
from tests.bombs import Bomb, in_child
from tests.toys import Recorder, files_of, toy_base, toy_store

CONFIG = AdapterConfig(rank=2, epochs=2, batch=1, save_every=3, answer_tokens=2)
LABELS = {"a": "ocean", "b": "sea"}
"""Four steps; checkpoints after the third and the last."""


class Ticking(Recorder):
    """Calls `tick` after each step."""

    def __init__(self, tick):
        super().__init__()
        self.tick = tick

    def advance(self, count=1, **numbers):
        super().advance(count, **numbers)
        if count:
            self.tick(f"after step {self.advanced}")


def train(base, root: Path, folder: Path, tick=lambda what: None) -> None:
    train_adapter(base, [open_store(root / "store")], CONFIG, folder, Ticking(tick))


def explode(base, root: Path, folder: Path, moment: int, log: Path) -> None:
    bomb = Bomb(moment, log)
    bomb.around("fsync", "replace")
    train(base, root, folder, bomb.tick)


def killed(base, root: Path, moment: int) -> dict[str, object]:
    folder, log = root / str(moment), root / f"{moment}.log"
    status = in_child(lambda: explode(base, root, folder, moment, log))
    found = sorted(name for name in files_of(folder) if not name.endswith(".tmp"))
    resumed = in_child(lambda: train(base, root, folder))
    same = files_of(folder) == files_of(root / "whole")
    return {"status": status, "found": found, "resumed": resumed, "same": same}


def main(base_folder: str, root: Path) -> None:
    base = toy_base(Path(base_folder))
    toy_store(root / "store", base, LABELS)
    log = root / "whole.log"
    assert in_child(lambda: explode(base, root, root / "whole", 10**6, log)) == 0
    moments = log.read_text().splitlines()
    # Five files are written: two checkpoints and the three of an adapter.
    chosen = [n for n, what in enumerate(moments) if what in ("after step 2", "after replace")]
    chosen += [n for n, what in enumerate(moments) if what == "before replace"][:1]
    for moment in sorted(chosen):
        sys.stdout.write(json.dumps({"at": moments[moment], **killed(base, root, moment)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
