"""Run one measurement in this process: `python -m benchmarks.worker JOB`, a job as JSON."""

import json
import sys
from dataclasses import asdict

from benchmarks.job import Job
from benchmarks.stages import STAGES
from benchmarks.stand import Stand


def main(argument: str) -> None:
    """Measure, and print the result as one line of JSON."""
    job = Job(**json.loads(argument))
    result = STAGES[job.stage, job.contender](Stand(job))
    print(json.dumps(asdict(result)))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
