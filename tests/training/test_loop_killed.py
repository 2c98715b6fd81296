"""Adapter training killed with SIGKILL at many moments goes on to the very same bytes."""

import json
import signal

from tests.bombs import run_module

CHECKPOINT, CARD = "checkpoint.safetensors", "diffspeak.json"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def test_killed_and_resumed_is_uninterrupted(tiny, tmp_path):
    done = run_module("tests.training.killed_adapter", tiny, tmp_path)
    assert done.returncode == 0, done.stderr
    killed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report for report in killed if not report["same"] or report["resumed"]] == []
    assert {report["status"] for report in killed} == {signal.SIGKILL}
    assert [(report["at"], report["found"]) for report in killed] == [
        ("after step 2", []),
        ("before replace", []),
        ("after replace", [CHECKPOINT]),
        ("after replace", [CHECKPOINT]),
        ("after replace", [WEIGHTS, CHECKPOINT]),
        ("after replace", [CONFIG, WEIGHTS, CHECKPOINT]),
        ("after replace", [CONFIG, WEIGHTS, CHECKPOINT, CARD]),
    ]
