"""A run killed with SIGKILL at every moment goes on and ends with the very same bytes."""

import json
import signal

from tests.bombs import run_module


def test_killed_at_every_moment_and_resumed_is_uninterrupted(tmp_path):
    done = run_module("tests.store.killed", tmp_path)
    assert done.returncode == 0, done.stderr
    *killed, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert last["status"] == 0
    assert {report["status"] for report in killed} == {signal.SIGKILL}
    # Moments of all kinds were met: nothing there, half a file, tensors without lines, full.
    found = [set(report["found"]) for report in killed]
    assert set() in found
    assert any(".tmpAbC123" in names for names in found)
    assert any(
        "shard-00000.safetensors" in names and "shard-00000.jsonl" not in names for names in found
    )
    assert any(
        "full-00001/model.safetensors" in names and "shard-00001.jsonl" not in names
        for names in found
    )
    assert len(killed) > 40
    assert [report for report in killed if not report["same"] or report["resumed"]] == []
