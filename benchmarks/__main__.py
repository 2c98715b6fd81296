"""`python -m benchmarks`: measure every stage against every contender, and write the page.

`python -m benchmarks STAGE --model SHAPE` measures one stage and prints it. Results are kept as
they come in `--kept`, so that an interrupted run goes on where it stopped.
"""

import argparse
from pathlib import Path

from benchmarks.job import Job
from benchmarks.page import write_page
from benchmarks.plan import Kept, everything, of_stage
from benchmarks.shapes import SHAPES
from benchmarks.stages import STAGES


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    stages = sorted({stage for stage, _ in STAGES})
    parser.add_argument("stage", nargs="?", choices=stages, help="one stage only; all by default")
    parser.add_argument("--model", choices=sorted(SHAPES), default="5.8M")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--kept", type=Path, default=Path("runs/bench"), help="results so far")
    parser.add_argument("--page", type=Path, default=Path("docs/results/speed.md"))
    arguments = parser.parse_args()
    kept = Kept(arguments.kept)
    if arguments.stage:
        for job in of_stage(arguments.stage, arguments.model, arguments.dtype, arguments.device):
            _tell(job, kept)
        return
    for job in everything(arguments.device):
        _tell(job, kept)
    write_page(arguments.page, kept, arguments.device)


def _tell(job: Job, kept: Kept) -> None:
    result = kept.measure(job)
    print(  # noqa: T201
        f"{job.stage:9} {job.contender:10} {job.model:10} {job.dtype:8} {job.tasks:5} tasks  "
        f"{result.tokens_per_second:10,.0f} tokens/s  {result.peak_bytes / 2**30:6.2f} GiB",
        flush=True,
    )


if __name__ == "__main__":
    main()
