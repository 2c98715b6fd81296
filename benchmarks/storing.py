"""A store, timed: what a finetune costs to write, to find and to read."""

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from benchmarks.job import Result
from benchmarks.stand import Stand, peak, random_store
from diffspeak.finetunes import from_store
from diffspeak.store import Store, open_store

REPEATS = 5
READS = 200
SMALL = 100


def store_ours(stand: Stand) -> Result:
    """A finetune's share of writing, opening and holding a store, and reading it by its id.

    Reads take turns with reads of a store of a hundred, so that both meet the same machine; they
    are timed behind as many that are not, by when headers are known.
    """
    job = stand.job
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "store"
        written = random_store(stand, folder, job.tasks)[1]
        opened = [_timed(lambda: open_store(folder)) / job.tasks for _ in range(REPEATS)]
        tracemalloc.start()
        store = open_store(folder)
        held = tracemalloc.get_traced_memory()[0] / job.tasks
        tracemalloc.stop()
        small = random_store(stand, Path(root) / "small", SMALL)[0]
        rng = Random(0)
        ours, others = _Reading(store, job.tasks, rng), _Reading(small, SMALL, rng)
        pairs = [(ours.one(), others.one()) for _ in range(2 * READS)][READS:]
    seconds, beside = (list(times) for times in zip(*pairs, strict=True))
    extra = {"write": written, "open": opened, "bytes": [held], "read small": beside}
    return Result(1, seconds, peak(job.device), stand.base_bytes, 0.0, 1, extra)


@dataclass(frozen=True)
class _Reading:
    store: Store
    count: int
    rng: Random

    def one(self) -> float:
        """Seconds that reading any one takes."""
        name = f"random-{self.rng.randrange(self.count)}"
        return _timed(lambda: from_store(self.store, self.store.find(name)))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
