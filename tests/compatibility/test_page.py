"""The page has both runs, each as it was last."""

import json
from collections import Counter

from tests.compatibility.page import write_page
from tests.compatibility.versions import installed, locked
from tests.compatibility.watch import Outcome

WARNED = Outcome(8, 1, [], Counter({("UserWarning", "library.part", "a | b"): 3}))


def test_a_run_keeps_the_part_of_the_other(tmp_path):
    page = tmp_path / "page.md"
    write_page(page, "newest", WARNED)
    write_page(page, "oldest", Outcome(5, 0, ["tests/test_it.py::test_it"]))
    found = json.loads(page.with_suffix(".json").read_text())
    rows = {row["name"]: row for row in found["rows"]}
    assert found["runs"]["newest"]["passed"] == 8 and found["locked"] == locked()
    new, old = rows["newest: tests that fail"], rows["oldest: tests that fail"]
    assert (new["value"], new["n"], new["met"]) == (0, 8, True)
    assert (old["value"], old["n"], old["met"]) == (1, 6, False)
    assert rows["newest: warnings (n: different ones)"]["value"] == 3
    write_page(page, "oldest", Outcome(6, 0, []))
    assert "test_it" not in page.read_text()


def test_the_page_tells_packages_and_warnings(tmp_path):
    page = tmp_path / "page.md"
    write_page(page, "newest", WARNED)
    write_page(page, "oldest", Outcome(5, 0, ["tests/test_it.py::test_it"]))
    text, have, lock = page.read_text(), installed()["torch"], locked()["torch"]
    assert "| package | locked | newest tried | newest passed | oldest tried |" in text
    assert f"| torch | {lock} | {have} | yes | {have} | no |" in text
    assert r"| 3 | UserWarning | library.part | a \| b |" in text
    assert "- failed: `tests/test_it.py::test_it`" in text
