"""One measurement: what is asked for, and what came out, both as plain JSON.

Takes a `Job`, runs it in a fresh process (`worker.py`), gives a `Result`.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from statistics import median

from benchmarks.shapes import SHAPES, Shape


@dataclass(frozen=True)
class Job:
    """What is to be measured.

    Attributes:
        stage: `diffs`, `adapter`, `describe`, `evaluate` or `store`.
        contender: `ours`, `crew` (ours in several processes), `published`, `peft` (one at a time)
            or `peft-mixed`.
        model: A name in `SHAPES`.
        dtype: Of the base.
        device: As torch names it.
        tasks: Finetunes trained, read or described at once; a store's size.
        rank: Of the finetunes.
        steps: Optimizer steps that are timed, behind the warm-up.
        warm_up: Steps before.
        changed: Fields of the shape to change.
    """

    stage: str
    contender: str
    model: str
    dtype: str = "float32"
    device: str = "cpu"
    tasks: int = 16
    rank: int = 1
    steps: int = 8
    warm_up: int = 2
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """The model's shape."""
        return replace(SHAPES[self.model], **self.changed)


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes:
        tokens: Of one unit of work (an optimizer step, or all descriptions), padding none.
        seconds: Of each unit, in order, warm-up left out.
        peak_bytes: Most memory the process held; on a GPU, most that torch allocated.
        base_bytes: The same when the base stood ready.
        flops: That the mathematics of one unit needs.
        finetunes: Made or described in one unit.
        extra: Further figures, such as losses.
    """

    tokens: int
    seconds: list[float]
    peak_bytes: int
    base_bytes: int
    flops: float
    finetunes: float
    extra: dict[str, list[float]] = field(default_factory=dict)

    @property
    def tokens_per_second(self) -> float:
        """By the median unit."""
        return self.tokens / median(self.seconds)

    @property
    def flops_per_second(self) -> float:
        """By the median unit."""
        return self.flops / median(self.seconds)


def run(job: Job) -> Result:
    """Measure in a fresh process.

    Raises:
        RuntimeError: It failed; the message ends with what it said.
    """
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(job))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"{job} failed:\n{done.stderr[-2000:]}")
    return Result(**json.loads(done.stdout.splitlines()[-1]))
