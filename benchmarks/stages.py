"""What is timed: a function for each stage and contender, all on the same work."""

from collections.abc import Callable

from benchmarks.describing import describe_ours, describe_peft_mixed, evaluate_ours, evaluate_peft
from benchmarks.job import Result
from benchmarks.stand import Stand
from benchmarks.storing import store_ours
from benchmarks.training import (
    adapter_ours,
    adapter_peft,
    adapter_published,
    diffs_crew,
    diffs_ours,
    diffs_peft,
    diffs_published,
)

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
