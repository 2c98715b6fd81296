"""What every measurement stands on: a base that is ready, random factors, a clock and a store.

Takes a job; `Stand.result` puts together what came out.
"""

import gc
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.job import Job, Result
from benchmarks.shapes import random_base
from benchmarks.work import QUESTION, RandomTalk
from diffspeak.lora import Diff, random_factors
from diffspeak.memory import keep_freed_memory
from diffspeak.models import Base, target_names
from diffspeak.models.linears import shape_of
from diffspeak.progress import Silent
from diffspeak.store import NewEntry, Store, StoreHeader, create_or_resume, open_store
from diffspeak.text.seeds import seed_of
from diffspeak.training import DiffConfig

ADAPTER_RANK = 16


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

    def adapter_factors(self) -> Diff:
        """Fresh factors of an adapter, trainable, without a task axis."""
        fresh = self.fresh(ADAPTER_RANK, [seed_of("adapter", 0)])
        return {
            name: change[0].scaled(ADAPTER_RANK).trainable(self.job.device)
            for name, change in fresh.items()
        }

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


def random_store(stand: Stand, folder: Path, count: int) -> tuple[Store, list[float]]:
    """Random finetunes as a store, and the seconds a finetune that each shard took to write."""
    job, seconds = stand.job, []
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
            seconds.append((time.perf_counter() - began) / size)
    return open_store(folder), seconds
