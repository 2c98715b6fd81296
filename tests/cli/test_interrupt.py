"""Ctrl-C in the middle of training, sent to the real program."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

SETS = ("--set", "diffs.steps=12", "--set", "diffs.tasks=1", "--set", "diffs.probes=0")


def interruptible() -> None:
    # A shell's background job ignores the signal, and so would its children.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(args: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "diffspeak", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=interruptible,  # noqa: PLW1509
    )


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(study: Path, cli: Cli, tmp_path):
    out, whole = tmp_path / "store", tmp_path / "whole"
    program = start(["diffs", str(study), "--out", str(out), *SETS])
    try:
        while not (out / "shard-00001.jsonl").exists() and program.poll() is None:
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        said = program.communicate()
    finally:
        program.kill()
    assert program.returncode == 130, said
    assert said[1].splitlines()[-1] == "diffspeak: stopped; run the same command again to go on"
    assert "Traceback" not in said[1] and said[0] == ""
    assert not (out / "shard-00009.jsonl").exists()
    assert cli("diffs", study, "--out", out, *SETS).code == 0
    assert cli("diffs", study, "--out", whole, *SETS).code == 0
    made = sorted(path.name for path in whole.glob("s*"))
    assert made == sorted(path.name for path in out.glob("s*")) and len(made) == 21
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in made)
