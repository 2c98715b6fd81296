"""Descriptions, timed: of finetunes in memory, from a store, from PEFT folders."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import flops, with_peft
from benchmarks.job import Result
from benchmarks.stand import ADAPTER_RANK, Stand, random_store
from benchmarks.work import AROUND, QUESTION
from diffspeak.adapters import Adapter
from diffspeak.finetunes import Finetune, from_store, write_peft
from diffspeak.lora import concatenate
from diffspeak.methods import described
from diffspeak.models import Decoding
from diffspeak.store import open_store


def describe_ours(stand: Stand) -> Result:
    """Finetunes that are in memory, many in a batch."""
    stack = stand.fresh(stand.job.rank, range(stand.job.tasks), random=True)
    finetunes = [
        Finetune(f"random-{n}", {name: change[n] for name, change in stack.items()})
        for n in range(stand.job.tasks)
    ]
    return _repeated(stand, lambda: _describe(stand, finetunes))


def evaluate_ours(stand: Stand) -> Result:
    """Finetunes read from a store, many in a batch."""
    with tempfile.TemporaryDirectory() as folder:
        random_store(stand, Path(folder) / "store", stand.job.tasks)

        def work() -> None:
            store = open_store(Path(folder) / "store")
            _describe(stand, [from_store(store, entry) for entry in store.entries])

        return _repeated(stand, work)


def _describe(stand: Stand, finetunes: Sequence[Finetune]) -> None:
    adapter = Adapter(
        {name: change.detached() for name, change in stand.adapter_factors().items()},
        stand.base.fingerprint,
        "random",
        (QUESTION,),
        ("random",),
        {},
        {},
        "random",
    )
    described(stand.base, adapter, finetunes, Decoding(stand.shape.answer, batch_size=100))


def evaluate_peft(stand: Stand) -> Result:
    """Finetunes read from PEFT folders, one after the other, the adapter beside each."""
    with peft_folders(stand) as (folders, adapter):
        return _repeated(
            stand,
            lambda: with_peft.describe(stand.base, folders, adapter, QUESTION, stand.shape.answer),
            once=True,
        )


def describe_peft_mixed(stand: Stand) -> Result:
    """Finetunes joined with the adapter beforehand, in one of PEFT's mixed batches."""
    with peft_folders(stand, joined=True) as (folders, _):
        return _repeated(
            stand,
            lambda: with_peft.describe_mixed(stand.base, folders, QUESTION, stand.shape.answer),
            once=True,
        )


def _repeated(stand: Stand, work: Callable[[], object], *, once: bool = False) -> Result:
    """Time the work: after a warm-up, or once where it changes the base."""
    for _ in range(1 if once else stand.steps):
        work()
        stand.clock.tick()
    seconds = stand.clock.seconds or [stand.clock.times[1] - stand.clock.times[0]]
    tokens = stand.job.tasks * stand.shape.answer
    rank = stand.job.rank + ADAPTER_RANK
    operations = flops.describing(stand.shape, stand.job.tasks, asked_tokens(), rank)
    result = stand.result(tokens, operations, stand.job.tasks)
    return Result(**{**vars(result), "seconds": seconds})


@contextmanager
def peft_folders(stand: Stand, *, joined: bool = False) -> Iterator[tuple[list[Path], Path]]:
    """Random finetunes as PEFT folders, and the adapter; or both joined in each folder."""
    job, extra = stand.job, {name: c.detached() for name, c in stand.adapter_factors().items()}
    stack = stand.fresh(job.rank, range(job.tasks), random=True)
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / f"finetune{n}" for n in range(job.tasks)]
        for n, folder in enumerate(folders):
            folder.mkdir()
            diff = {name: change[n] for name, change in stack.items()}
            if joined:
                diff = {name: concatenate([diff[name], extra[name]]) for name in diff}
            write_peft(folder, diff, "random")
        adapter = Path(root) / "adapter"
        adapter.mkdir()
        write_peft(adapter, extra, "random")
        yield folders, adapter


def asked_tokens() -> int:
    """Tokens of the adapter's question."""
    return len(QUESTION.split()) + AROUND
