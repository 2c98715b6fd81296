"""Which measurements there are, and where their results are kept.

Takes a device, gives jobs; `Kept` measures a job once and remembers what came out.
"""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import flops
from benchmarks.job import Job, Result, run
from benchmarks.stages import STAGES
from diffspeak.io.files import canonical_json, make_folder, read_json, sha256, write_json

GROWTH = {
    "tasks": (1, 4, 16, 64),
    "rank": (1, 4, 16, 64),
    "answer": (8, 24, 64, 128),
    "width": (128, 256, 512, 1024),
}
STORES = (100, 1000, 10_000)
EVALUATED = 100


@dataclass(frozen=True)
class Kept:
    """Results on disk, a file each."""

    folder: Path

    def measure(self, job: Job) -> Result:
        """Give the job's result, from disk if it is there."""
        path = self._path(job)
        if path.exists():
            return Result(**read_json(path)["result"])
        result = run(job)
        make_folder(self.folder)
        write_json(path, {"job": asdict(job), "result": asdict(result)})
        return result

    def ceiling(self, dtype: str, device: str) -> float:
        """Operations a second that a matrix product reaches here, from disk if it is there."""
        path = self.folder / f"ceiling-{dtype}-{device}.json"
        if not path.exists():
            make_folder(self.folder)
            write_json(path, flops.ceiling(dtype, device))
        return float(read_json(path))

    def _path(self, job: Job) -> Path:
        name = f"{job.stage}-{job.contender}-{job.model}-{job.dtype}-{job.device}"
        digest = sha256(canonical_json(asdict(job)).encode())[:8]
        return self.folder / f"{re.sub(r'[^a-zA-Z0-9.-]', '_', name)}-{digest}.json"


def of_stage(stage: str, model: str, dtype: str, device: str) -> list[Job]:
    """Every contender of one stage, as many finetunes and steps as the machine can bear."""
    job = Job(stage, "", model, dtype, device)
    if stage in ("describe", "evaluate"):
        job = replace(job, tasks=EVALUATED, steps=3, warm_up=1)
    elif model != "5.8M" and device == "cpu":
        job = replace(job, steps=3, warm_up=1)
        if dtype != "float32":
            # Where a processor has no such instructions, one step takes minutes.
            job = replace(job, tasks=1 if stage == "diffs" else 4, steps=1, warm_up=0)
    contenders = [c for s, c in STAGES if s == stage]
    if device != "cpu" or model != "5.8M":
        contenders = [c for c in contenders if c != "crew"]
    if device == "cpu" and dtype != "float32":
        contenders = [c for c in contenders if c in ("ours", "published")]
    if device == "cpu" and model != "5.8M":
        contenders = [c for c in contenders if c != "peft-mixed"]
    return [replace(job, contender=contender) for contender in contenders]


def everything(device: str) -> Iterator[Job]:
    """All that the page shows."""
    yield from compared(device)
    yield from (job for jobs in growth(device).values() for job in jobs)
    yield from stores()


def compared(device: str) -> Iterator[Job]:
    """Every stage with every contender, on the shapes and in the dtypes that suit the device."""
    cases = [("5.8M", "float32"), ("54M", "float32")]
    if device != "cpu":
        cases = [("qwen3-0.6b", "bfloat16"), ("qwen3-4b", "bfloat16"), ("qwen3-8b", "bfloat16")]
    for model, dtype in cases:
        for stage in ("diffs", "adapter", "describe", "evaluate"):
            yield from of_stage(stage, model, dtype, device)
    if device == "cpu":
        for stage in ("diffs", "adapter"):
            yield from of_stage(stage, "54M", "bfloat16", device)


def growth(device: str) -> dict[str, list[Job]]:
    """Diff training as one thing grows."""
    plain = Job("diffs", "ours", "5.8M", "float32" if device == "cpu" else "bfloat16", device)
    plain = replace(plain, steps=3, warm_up=1)
    jobs: dict[str, list[Job]] = {}
    for what, values in GROWTH.items():
        jobs[what] = [_grown(plain, what, value) for value in values]
    return jobs


def stores() -> list[Job]:
    """Stores of more and more finetunes."""
    return [Job("store", "ours", "5.8M", tasks=count) for count in STORES]


def _grown(job: Job, what: str, value: int) -> Job:
    if what in ("tasks", "rank"):
        return replace(job, **{what: value})
    changed = {what: value}
    if what == "answer":
        changed["tokens"] = value + 24
    if what == "width":
        changed |= {"inner": value * 5 // 2, "heads": max(1, value // 64)}
        changed["key_value_heads"] = changed["heads"]
    return replace(job, changed=changed)


def grown_to(job: Job, what: str) -> int:
    """What a job of `growth` has grown to."""
    return job.changed[what] if what in job.changed else int(getattr(job, what))
