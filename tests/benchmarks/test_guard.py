"""No change makes training slower than the published algorithm unnoticed: ratios, not times."""

import pytest

from benchmarks.job import Job
from benchmarks.stages import STAGES
from benchmarks.stand import Stand

GUARD = {"layers": 3, "vocabulary": 2048}
ROUNDS, BOUND = 3, 1.5


def fastest(stage, contender):
    job = Job(stage, contender, "5.8M", tasks=8, steps=4, changed=GUARD)
    return min(STAGES[stage, contender](Stand(job)).seconds)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["diffs", "adapter"])
def test_training_stays_faster_than_the_published_algorithm(stage):
    """By the fastest step of several rounds, taken in turns, so that a busy machine is fair."""
    rounds = [(fastest(stage, "ours"), fastest(stage, "published")) for _ in range(ROUNDS)]
    ours, published = (min(times) for times in zip(*rounds, strict=True))
    assert published / ours > BOUND
