"""Run every test with other releases than the locked ones, and keep what came of it.

`python -m tests.compatibility newest` (or `oldest`) runs in the environment that `make newest` (or
`make oldest`) makes. Warnings are counted instead of raised. Arguments for pytest choose some of
the tests; then nothing is written.
"""

import argparse
import sys

import pytest

from tests.compatibility.versions import ROOT
from tests.compatibility.watch import Watch


def main() -> int:
    """Run; give pytest's exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    parser.add_argument("run", choices=["newest", "oldest"])
    parser.add_argument("--workers", default="2", help="test processes")
    asked, some = parser.parse_known_args()
    watch = Watch()
    options = ["-n", asked.workers, "--dist", "worksteal", "-W", "default"]
    code = pytest.main([*options, *some], plugins=[watch])
    if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not some:
        # Imported here: tests set the environment before the first import of torch.
        from tests.compatibility.page import write_page

        write_page(ROOT / "docs" / "results" / "compatibility.md", asked.run, watch.outcome)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
