"""`python -m benchmarks.planned`: how near a plan comes to what a run then takes.

Makes random bases of a few shapes, plans a stage of a study on each, runs it with the command that
a user would type, and watches the memory of its processes. Writes `docs/results/plan.md`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import Gemma3TextConfig, PreTrainedConfig, Qwen3Config

from diffspeak.io.runs import library_versions
from diffspeak.models import write_random
from diffspeak.scoring import Row, write_table

LOOK = 0.05
"""Seconds between looks at a run's memory."""

NEAR = 0.15
"""Share by which a plan may be wrong."""

WIDE = Qwen3Config(
    hidden_size=512,
    intermediate_size=1536,
    num_hidden_layers=12,
    num_attention_heads=8,
    num_key_value_heads=8,
    head_dim=64,
    tie_word_embeddings=True,
)
GEMMA = Gemma3TextConfig(
    hidden_size=384,
    intermediate_size=1024,
    num_hidden_layers=8,
    num_attention_heads=4,
    num_key_value_heads=1,
    head_dim=96,
    query_pre_attn_scalar=96,
    sliding_window=32,
)


@dataclass(frozen=True)
class Case:
    """A stage that is planned and run.

    Attributes:
        name: For the table.
        stage: `finetunes` or `adapter`.
        base: Its shape; None for the pocket base.
        sets: What differs from `configs/pocket.toml`.
    """

    name: str
    stage: str
    base: PreTrainedConfig | None
    sets: tuple[str, ...]


FEW = ("items.train=24", "items.validation=0", "items.test=0", "diffs.probes=2", "diffs.steps=3")
ADAPTER = ("adapter.epochs=2", "adapter.validation=0")
CASES = (
    Case("pocket base, finetunes", "finetunes", None, (*FEW, "items.train=48", "diffs.steps=20")),
    Case("45M, finetunes", "finetunes", WIDE, (*FEW, "items.train=8", "diffs.tasks=8")),
    Case("Gemma 3 of 15M, finetunes", "finetunes", GEMMA, (*FEW, "diffs.rank=8")),
    Case(
        "45M, finetunes, checkpointing",
        "finetunes",
        WIDE,
        (*FEW, "items.train=8", "diffs.tasks=8", "diffs.checkpointing=true"),
    ),
    Case(
        "45M, finetunes, smaller passes",
        "finetunes",
        WIDE,
        (*FEW, "items.train=8", "diffs.tasks=8", "diffs.max_tokens=1024"),
    ),
    Case("45M, adapter", "adapter", WIDE, (*FEW, *ADAPTER, "adapter.batch=24")),
)


def main() -> None:
    """Plan and run every case, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planned", description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("docs/results/plan.md"))
    page = parser.parse_args().page
    rows = []
    with TemporaryDirectory() as folder:
        for number, case in enumerate(CASES):
            rows += list(_compared(case, Path(folder) / str(number)))
            _write(page, rows)


def _write(page: Path, rows: Sequence[Row]) -> None:
    write_table(
        page,
        "What `diffspeak plan` tells, beside what a run takes",
        rows,
        {
            "How": "Memory is the largest sum over a run's processes of what each holds "
            "(proportional set size), looked at twenty times a second; it is planned with what "
            "`plan` measures. Seconds are planned for the stage, and measured for the whole "
            "command, which also loads the base and asks finetunes their probes. "
            f"On a CPU; `{sys.platform}`, {os.cpu_count()} cores.",
            "Versions": [f"{name} {version}" for name, version in library_versions().items()],
        },
    )


def _compared(case: Case, folder: Path) -> Iterator[Row]:
    sets = [f"--set={text}" for text in case.sets]
    if case.base is not None:
        write_random(case.base, folder / "base")
        sets.append(f"--set=base.source={folder / 'base'}")
    planned = json.loads(_told(["plan", "configs/pocket.toml", "--json", *sets]))
    stage = next(s for s in planned["stages"] if s["stage"] == case.stage)
    store = str(folder / "store")
    command = ["diffs", "configs/pocket.toml", "--out", store, *sets]
    if case.stage == "adapter":
        _told(command)
        out = str(folder / "adapter")
        command = ["adapter", "configs/pocket.toml", "--store", store, "--out", out, *sets]
    measured, seconds = _watched(command)
    ratio = stage["memory"] / measured
    print(f"{case.name}: {stage['memory']:.3g} of {measured:.3g} B, {seconds:.0f} s", flush=True)  # noqa: T201
    yield Row(f"{case.name}: planned, GB", stage["memory"] / 1e9, 1)
    yield Row(f"{case.name}: measured, GB", measured / 1e9, 1)
    yield Row(f"{case.name}: wrong by", abs(ratio - 1), 1, aim=NEAR, below=True)
    yield Row(f"{case.name}: planned, seconds", stage["time"], 1)
    yield Row(f"{case.name}: measured, seconds", seconds, 1)


def _told(arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "diffspeak", "--quiet", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _watched(arguments: Sequence[str]) -> tuple[float, float]:
    """Most bytes of memory that a command and its processes held, and its seconds."""
    command = [sys.executable, "-m", "diffspeak", "--quiet", *arguments]
    peak, began = 0.0, time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(_held(pid) for pid in _family(process.pid)))
            time.sleep(LOOK)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return peak, time.monotonic() - began


def _family(pid: int) -> list[int]:
    """A process with all that it began."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _family(int(child))
    except OSError:
        pass  # It ended meanwhile.
    return found


def _held(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0  # It ended meanwhile.
    return sum(1024.0 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
