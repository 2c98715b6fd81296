"""What is timed: a function for each stage and contender, all on the same work.

Takes a job, gives a result. Each runs in a process of its own.
"""

import gc
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import mean

import torch

from benchmarks import flops, published, with_peft
from benchmarks.job import Job, Result
from benchmarks.shapes import random_base
from benchmarks.work import AROUND, QUESTION, RandomTalk
from diffspeak.adapter import Adapter, AdapterConfig, train_adapter
from diffspeak.diffs import DiffConfig, train_group
from diffspeak.diffs.crew import teach_all
from diffspeak.evaluate import described
from diffspeak.finetunes import Finetune, from_store, write_peft
from diffspeak.lora import Diff, concatenate, random_factors
from diffspeak.memory import keep_freed_memory
from diffspeak.models import Base, Decoding, attach_to, target_names
from diffspeak.models.linears import shape_of
from diffspeak.progress import Silent
from diffspeak.store import NewEntry, Store, StoreHeader, create_or_resume, open_store
from diffspeak.text.seeds import seed_of

ADAPTER_RANK = 16
LEARNING_RATE = 1e-4


class Clock(Silent):
    """Remembers when each step ended, the device's work included."""

    def __init__(self, device: str, warm_up: int) -> None:
        self.device, self.warm_up, self.times = device, warm_up, [time.perf_counter()]

    def tick(self) -> None:
        """A step is over."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())

    def advance(self, count: int = 1, **numbers: float) -> None:
        """A step is over, if any."""
        if count:
            self.tick()

    @property
    def seconds(self) -> list[float]:
        """Of each step behind the warm-up."""
        return [b - a for a, b in zip(self.times, self.times[1:], strict=False)][self.warm_up :]


class Stand:
    """A base ready to be measured, and what is needed to tell what came out."""

    def __init__(self, job: Job) -> None:
        if job.contender == "ours":
            keep_freed_memory()
        self.job, self.shape = job, job.shape
        attention = "eager" if job.contender == "published" else "sdpa"
        self.base: Base = random_base(self.shape, job.dtype, job.device, attention=attention)
        self.talk = RandomTalk(self.shape, job.tasks)
        self.clock = Clock(job.device, job.warm_up)
        gc.collect()
        self.base_bytes = peak(job.device)

    @property
    def steps(self) -> int:
        """The warm-up's included."""
        return self.job.warm_up + self.job.steps

    @property
    def diff_config(self) -> DiffConfig:
        """How finetunes are trained."""
        job = self.job
        return DiffConfig(rank=job.rank, steps=self.steps, tasks=job.tasks, probes=0)

    def fresh(self, rank: int, seeds: Sequence[int], *, random: bool = False) -> Diff:
        """A stack of fresh factors, one for each seed; with `random` their B is not zero."""
        linears = {
            name.removesuffix(".base"): shape_of(self.base.model.get_submodule(name))
            for name in target_names(self.base.model)
        }
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        diff = random_factors(linears, rank, 1 / rank, generators)
        for change in diff.values() if random else ():
            for b, generator in zip(change.B, generators, strict=True):
                b.normal_(0, 0.02, generator=generator)
        return diff

    def result(
        self, tokens: int, operations: float, finetunes: float, losses: Sequence[float] = ()
    ) -> Result:
        """Put together what the clock and the machine say."""
        return Result(
            tokens,
            self.clock.seconds,
            peak(self.job.device),
            self.base_bytes,
            operations,
            finetunes,
            {"losses": list(losses)} if losses else {},
        )


def peak(device: str) -> int:
    """Most bytes held so far."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def diffs_ours(stand: Stand) -> Result:
    """A group of finetunes at once."""
    items, losses = stand.talk.items(), []

    def on_step(_: int, loss: torch.Tensor) -> None:
        stand.clock.tick()
        losses.append(loss.sum())

    attachment = attach_to(stand.base.model)
    train_group(stand.base, attachment, stand.talk, items, stand.diff_config, on_step)
    return _diffs_result(stand, stand.job.tasks, [loss.item() for loss in losses])


def diffs_crew(stand: Stand) -> Result:
    """As many groups as there are cores, a process each."""
    job, arrived = stand.job, [[] for _ in range(stand.steps)]
    count = torch.get_num_threads()
    talk = RandomTalk(stand.shape, count * job.tasks)
    items = talk.items()
    groups = [items[start : start + job.tasks] for start in range(0, len(items), job.tasks)]

    def on_step(step: int, _losses: torch.Tensor, _tasks: int) -> None:
        arrived[step].append(time.perf_counter())

    for _ in teach_all(stand.base, talk, groups, stand.diff_config, count, 1, on_step):
        pass
    stand.clock.times = [mean(times) for times in arrived]
    # What was before the first step is not timed.
    stand.clock.warm_up = job.warm_up - 1
    result = _diffs_result(stand, count * job.tasks, [])
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return replace(result, peak_bytes=result.peak_bytes + count * children)


def diffs_published(stand: Stand) -> Result:
    """A group of finetunes, the published way."""
    job, items, losses = stand.job, stand.talk.items(), []
    # The same first values as ours, so that the losses can be compared.
    seeds = [seed_of("diff", stand.diff_config.seed, item.id) for item in items]
    diff = {
        name: change.trainable(job.device) for name, change in stand.fresh(job.rank, seeds).items()
    }
    trainer = published.DiffTrainer(stand.base, diff, stand.diff_config)
    for step in range(stand.steps):
        losses.append(trainer.step([stand.talk.samples(item, step) for item in items]).sum().item())
        stand.clock.tick()
    return _diffs_result(stand, job.tasks, losses)


def diffs_peft(stand: Stand) -> Result:
    """One finetune alone."""
    (item, *_), losses = stand.talk.items(), []
    trainer = with_peft.DiffTrainer(stand.base, stand.diff_config)
    for step in range(stand.steps):
        losses.append(trainer.step(stand.talk.samples(item, step)).item())
        stand.clock.tick()
    return _diffs_result(stand, 1, losses)


def _diffs_result(stand: Stand, tasks: int, losses: Sequence[float]) -> Result:
    operations = flops.diff_training(stand.shape, tasks, stand.job.rank)
    return stand.result(3 * tasks * stand.shape.tokens, operations, tasks, losses)


def adapter_ours(stand: Stand) -> Result:
    """An adapter on a store of random finetunes."""
    job = stand.job
    config = AdapterConfig(
        rank=ADAPTER_RANK,
        alpha=float(ADAPTER_RANK),
        batch=job.tasks,
        epochs=stand.steps,
        warmup=0.0,
        learning_rate=LEARNING_RATE,
        validation=0,
        save_every=1 << 20,
        answer_tokens=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        store, _ = random_store(stand, Path(folder) / "store", job.tasks)
        train_adapter(stand.base, [store], config, Path(folder) / "adapter", stand.clock)
    return _adapter_result(stand)


def adapter_published(stand: Stand) -> Result:
    """An adapter, the published way."""
    job = stand.job
    finetunes = _on_device(stand.fresh(job.rank, range(job.tasks), random=True), job.device)
    labels = [stand.talk.label(n) for n in range(job.tasks)]
    trainer = published.AdapterTrainer(stand.base, _adapter_factors(stand), LEARNING_RATE)
    losses = []
    for _ in range(stand.steps):
        losses.append(trainer.step(finetunes, QUESTION, labels).item())
        stand.clock.tick()
    return _adapter_result(stand, losses)


def adapter_peft(stand: Stand) -> Result:
    """An adapter beside one finetune after the other."""
    job = stand.job
    labels = [stand.talk.label(n) for n in range(job.tasks)]
    with _peft_folders(stand) as (folders, _):
        trainer = with_peft.AdapterTrainer(stand.base, folders, ADAPTER_RANK, LEARNING_RATE)
        for _ in range(stand.steps):
            trainer.step(QUESTION, labels)
            stand.clock.tick()
    return _adapter_result(stand)


def _adapter_result(stand: Stand, losses: Sequence[float] = ()) -> Result:
    job = stand.job
    operations = flops.adapter_training(stand.shape, job.tasks, job.rank, ADAPTER_RANK)
    return stand.result(_labelled(stand) * job.tasks, operations, job.tasks, losses)


def _labelled(stand: Stand) -> int:
    """Tokens of the adapter's question and one label."""
    return _asked() + stand.shape.answer


def _asked() -> int:
    """Tokens of the adapter's question."""
    return len(QUESTION.split()) + AROUND


def _adapter_factors(stand: Stand) -> Diff:
    seeds = [seed_of("adapter", 0)]
    fresh = {name: change[0] for name, change in stand.fresh(ADAPTER_RANK, seeds).items()}
    return {
        name: change.scaled(ADAPTER_RANK).trainable(stand.job.device)
        for name, change in fresh.items()
    }


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
        {name: change.detached() for name, change in _adapter_factors(stand).items()},
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
    with _peft_folders(stand) as (folders, adapter):
        return _repeated(
            stand,
            lambda: with_peft.describe(stand.base, folders, adapter, QUESTION, stand.shape.answer),
            once=True,
        )


def describe_peft_mixed(stand: Stand) -> Result:
    """Finetunes joined with the adapter beforehand, in one of PEFT's mixed batches."""
    with _peft_folders(stand, joined=True) as (folders, _):
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
    operations = flops.describing(stand.shape, stand.job.tasks, _asked(), rank)
    result = stand.result(tokens, operations, stand.job.tasks)
    return Result(**{**vars(result), "seconds": seconds})


@contextmanager
def _peft_folders(stand: Stand, *, joined: bool = False) -> Iterator[tuple[list[Path], Path]]:
    """Random finetunes as PEFT folders, and the adapter; or both joined in each folder."""
    job, extra = stand.job, {name: c.detached() for name, c in _adapter_factors(stand).items()}
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


def random_store(stand: Stand, folder: Path, count: int) -> tuple[Store, float]:
    """Random finetunes as a store, and the seconds that writing them took."""
    job, seconds = stand.job, 0.0
    header = StoreHeader(
        behavior={"name": "random", "questions": [QUESTION]},
        base={"name": "random", **stand.base.fingerprint.to_dict()},
        targets=tuple(target_names(stand.base.model)),
        rank=job.rank,
        scaling=1 / job.rank,
        dtype="float32",
        settings={},
    )
    with create_or_resume(folder, header) as writer:
        for start in range(0, count, 100):
            size = min(100, count - start)
            stack = stand.fresh(job.rank, range(start, start + size), random=True)
            entries = [
                NewEntry(
                    f"random-{n}", stand.talk.label(n), None, "train", "random", "random", None
                )
                for n in range(start, start + size)
            ]
            began = time.perf_counter()
            writer.write_shard(entries, {name: (c.A, c.B) for name, c in stack.items()})
            seconds += time.perf_counter() - began
    return open_store(folder), seconds


def store_ours(stand: Stand) -> Result:
    """Time to write a finetune, to open the store and to read one by its id, here and there."""
    job = stand.job
    with tempfile.TemporaryDirectory() as folder:
        written = random_store(stand, Path(folder) / "store", job.tasks)[1]
        before = peak(job.device)
        start = time.perf_counter()
        store = open_store(Path(folder) / "store")
        opened = time.perf_counter() - start
        rng, seconds = Random(0), []
        for _ in range(200):
            name = f"random-{rng.randrange(job.tasks)}"
            start = time.perf_counter()
            from_store(store, store.find(name))
            seconds.append(time.perf_counter() - start)
        grown = peak(job.device) - before
    extra = {
        "write": [written / job.tasks],
        "open": [opened / job.tasks],
        "bytes": [grown / job.tasks],
    }
    return Result(1, seconds, peak(job.device), stand.base_bytes, 0.0, 1, extra)


def _on_device(diff: Diff, device: str) -> Diff:
    return {name: change.to(device) for name, change in diff.items()}


STAGES: dict[tuple[str, str], Callable[[Stand], Result]] = {
    ("diffs", "ours"): diffs_ours,
    ("diffs", "crew"): diffs_crew,
    ("diffs", "published"): diffs_published,
    ("diffs", "peft"): diffs_peft,
    ("adapter", "ours"): adapter_ours,
    ("adapter", "published"): adapter_published,
    ("adapter", "peft"): adapter_peft,
    ("describe", "ours"): describe_ours,
    ("describe", "peft-mixed"): describe_peft_mixed,
    ("evaluate", "ours"): evaluate_ours,
    ("evaluate", "peft"): evaluate_peft,
    ("store", "ours"): store_ours,
}
