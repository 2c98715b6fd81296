"""Writes a store in processes that kill themselves at every moment in turn, then resumes each.

Run as `killed.py FOLDER`. A moment is just before or after one of the calls by which a file
comes to be: tensors written (also: half written), flushed, renamed. Prints one JSON line for each
moment: what stood in the folder when the process was dead, and whether the resumed store has
the bytes of an uninterrupted one. It forks, for importing torch anew each time would take minutes.
"""

import json
import os
import signal
import sys
from pathlib import Path

from diffspeak.store import create_or_resume, tensors, writer
from tests.bombs import in_child
from tests.store.samples import HEADER, content, entry, factors, state


def write(folder: Path) -> None:
    """A run: two shards, one finetune of which failed, and a full finetune between them."""
    with create_or_resume(folder, HEADER) as store:
        for numbers in ([0, 1, 2], None, [3, 4]):
            if numbers is None:
                if entry(9).id not in store.done:
                    store.write_full(entry(9), state(9))
                continue
            entries = [entry(n, "loss is nan" if n == 1 else None) for n in numbers]
            if entries[0].id not in store.done:
                store.write_shard(entries, factors(numbers))


class Bomb:
    """Kills this process at the n-th moment."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def tick(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call):
        def wrapped(*args, **kwargs):
            self.tick()
            result = call(*args, **kwargs)
            self.tick()
            return result

        return wrapped

    def saving(self, call):
        def wrapped(ready, path):
            self.tick()
            call(ready, path)
            whole = Path(path).read_bytes()
            # As safetensors does it: a temporary file of its own in the same folder.
            (Path(path).parent / ".tmpAbC123").write_bytes(whole[: len(whole) // 2])
            Path(path).write_bytes(whole[: len(whole) // 2])
            self.tick()
            (Path(path).parent / ".tmpAbC123").unlink()
            Path(path).write_bytes(whole)

        return wrapped

    def plant(self) -> None:
        os.fsync = self.around(os.fsync)
        os.replace = self.around(os.replace)
        tensors.save_file = self.saving(tensors.save_file)
        writer.write_text = self.around(writer.write_text)


def explode(folder: Path, moment: int) -> None:
    """Write with a bomb; the moment must come before the end."""
    Bomb(moment).plant()
    write(folder)


def main(root: Path) -> None:
    whole = root / "whole"
    assert in_child(lambda: write(whole)) == 0
    moment, status = 0, signal.SIGKILL
    while status == signal.SIGKILL:
        folder = root / str(moment)
        status = in_child(lambda folder=folder, moment=moment: explode(folder, moment))
        found = sorted(content(folder))
        resumed = in_child(lambda folder=folder: write(folder))
        same = content(folder) == content(whole)
        report = {"status": status, "found": found, "resumed": resumed, "same": same}
        sys.stdout.write(json.dumps(report) + "\n")
        moment += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
