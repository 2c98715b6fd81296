"""Nothing is written before our own first line, whichever libraries a command imports."""

import json
import subprocess
import sys

import pytest

from tests.cli.conftest import Made

MARK = "-- next --\n"
RUN = f"""
import json, sys
from diffspeak.cli import main
for command in json.load(sys.stdin):
    assert main(command) == 0, command
    for stream in (sys.stdout, sys.stderr):
        print({MARK!r}, end="", file=stream, flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_touches_a_model_writes_lines_of_its_own_alone(made: Made, tiny, tmp_path):
    describe = ["describe", str(made.store), "--adapter", str(made.adapter), "--limit", "1"]
    demo = ["demo", "--count", "1", "--seed", "1"]
    commands = [describe, *(["--quiet", *one] for one in (["show", "pocket"], demo))]
    # The first one imports what there is to import.
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    described, shown, demonstrated, _ = done.stdout.split(MARK)
    assert described.startswith("finetune ") and shown.startswith("kind ")
    assert demonstrated.startswith("\nFinetune 1 of 1 ")
    first, *rest = done.stderr.split(MARK)
    assert first.startswith(f"base {tiny}: ") and first.count("\n") == 1, done.stderr
    assert rest == ["", "", ""], done.stderr
