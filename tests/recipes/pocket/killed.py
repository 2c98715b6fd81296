"""Trains a tiny pocket base in processes that kill themselves at chosen moments, then resumes.

Run as `killed.py FOLDER`. A moment is the end of a step, or just before or after a file is renamed.
Prints one JSON line for each.
"""

import json
import sys
from functools import partial
from pathlib import Path

from recipes.pocket import build
from tests.bombs import Bomb, in_child
from tests.recipes.pocket.quick import TINY, quick
from tests.toys import files_of


def explode(folder: Path, moment: int, log: Path) -> None:
    bomb = Bomb(moment, log)
    bomb.around("replace")
    descend = build.Trainer._descend

    def ticking(trainer, step):
        loss = descend(trainer, step)
        bomb.tick(f"after step {trainer.step + 1}")
        return loss

    build.Trainer._descend = ticking
    build.build(folder, TINY)


def killed(root: Path, moment: int) -> dict[str, object]:
    folder, log = root / str(moment), root / f"{moment}.log"
    status = in_child(partial(explode, folder, moment, log))
    found = (folder / "checkpoint.pt").exists()
    resumed = in_child(lambda: build.build(folder, TINY))
    same = files_of(folder / "base") == files_of(root / "whole" / "base")
    return {"status": status, "checkpoint": found, "resumed": resumed, "same": same}


def main(root: Path) -> None:
    quick(setattr)
    log = root / "whole.log"
    assert in_child(lambda: explode(root / "whole", 10**6, log)) == 0
    moments = log.read_text().splitlines()
    saved = moments.index("after step 4")
    # While the first checkpoint is saved, and between two.
    for moment in (saved + 1, moments.index("after step 7")):
        sys.stdout.write(json.dumps({"at": moments[moment], **killed(root, moment)}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
