"""What no longer holds says so on its page and in its JSON, once, and nothing else is touched."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.stale import MARK, NOTES, mark

RESULTS = Path(__file__).parents[2] / "docs" / "results"


@pytest.mark.parametrize("page", sorted(RESULTS.glob("*.md")), ids=lambda page: page.stem)
def test_pages_are_marked_by_the_program(page):
    note = NOTES.get(page.stem)
    text = page.read_text(encoding="utf-8")
    assert text.count(MARK) == (note is not None)
    data = page.with_suffix(".json")
    stale = json.loads(data.read_text(encoding="utf-8")).get("stale") if data.exists() else None
    if note is None:
        assert stale is None
    else:
        assert text.split("\n")[2] == note.line and stale == vars(note)


def test_a_mark_replaces_the_one_before_and_nothing_else(tmp_path):
    page, note = tmp_path / "audit.md", NOTES["audit"]
    page.write_text("# Title\n\nWords.\n\n| a |\n", encoding="utf-8")
    page.with_suffix(".json").write_text('{"rows": [1]}', encoding="utf-8")
    for one in (NOTES["study"], note, note):
        mark(page, one)
    assert page.read_text(encoding="utf-8") == f"# Title\n\n{note.line}\n\nWords.\n\n| a |\n"
    assert json.loads(page.with_suffix(".json").read_text()) == {"rows": [1], "stale": vars(note)}


def test_marking_again_changes_no_byte(tmp_path):
    for name, note in NOTES.items():
        for suffix in (".md", ".json"):
            shutil.copy(RESULTS / f"{name}{suffix}", tmp_path)
        mark(tmp_path / f"{name}.md", note)
        for suffix in (".md", ".json"):
            same = (RESULTS / f"{name}{suffix}").read_bytes()
            assert (tmp_path / f"{name}{suffix}").read_bytes() == same
