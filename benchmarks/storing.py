"""A store, timed: what a finetune costs to write, to find and to read."""

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random

from benchmarks.job import Result
from benchmarks.stand import Stand, peak, random_store
from diffspeak.finetunes import from_store
from diffspeak.store import open_store

REPEATS = 5
"""Times that what takes short is done; also the fewest shards that are written."""

READS = 200


def store_ours(stand: Stand) -> Result:
    """A finetune's share of writing, opening and holding a store, and reading it by its id.

    Reads are timed behind as many that are not: by then the shards are mapped.
    """
    job = stand.job
    with tempfile.TemporaryDirectory() as root:
        written = [
            seconds
            for n in range(max(1, 100 * REPEATS // job.tasks))
            for seconds in random_store(stand, Path(root) / str(n), job.tasks)[1]
        ]
        folder = Path(root) / "0"
        opened = [_timed(lambda: open_store(folder)) / job.tasks for _ in range(REPEATS)]
        tracemalloc.start()
        store = open_store(folder)
        held = tracemalloc.get_traced_memory()[0] / job.tasks
        tracemalloc.stop()
        rng = Random(0)
        names = [f"random-{rng.randrange(job.tasks)}" for _ in range(2 * READS)]
        seconds = [_timed(lambda name=name: from_store(store, store.find(name))) for name in names]
    extra = {"write": written, "open": opened, "bytes": [held]}
    return Result(1, seconds[READS:], peak(job.device), stand.base_bytes, 0.0, 1, extra)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
