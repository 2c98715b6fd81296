"""Diff training killed with SIGKILL at many moments goes on and ends with the very same bytes."""

import json
import signal

from tests.bombs import run_module


def test_killed_and_resumed_is_uninterrupted(tiny, tmp_path):
    done = run_module("tests.training.killed_diffs", tiny, tmp_path)
    assert done.returncode == 0, done.stderr
    *killed, locked = [json.loads(line) for line in done.stdout.splitlines()]
    assert locked == {"refused": True}
    assert [report for report in killed if not report["same"] or report["resumed"]] == []
    assert {report["status"] for report in killed} == {signal.SIGKILL}
    renames = ["before replace", "after replace"] * 2
    moments = ["step 1 of toy-0", "check of toy-1", *renames, "step 0 of toy-2"]
    assert [report["at"] for report in killed] == moments
    # What counted when the process was dead: the manifest alone, or the first shard too.
    lines = [sum(name.endswith(".jsonl") for name in report["found"]) for report in killed]
    assert lines == [0, 0, 0, 0, 0, 1, 1]
    tensors = ["shard-00000.safetensors" in report["found"] for report in killed]
    assert tensors == [False, False, False, True, True, True, True]
