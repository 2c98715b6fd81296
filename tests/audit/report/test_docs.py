"""docs/audit.md names every field of the JSON."""

import json
from pathlib import Path

from diffspeak.audit.report import write_audit, write_overview
from diffspeak.audit.report.pages import ORDER
from tests.audit.report.made import about, finding, unread

PAGE = Path(__file__).parents[3] / "docs" / "audit.md"
FREE = {"norms", "seconds", "settings", "machine", "versions"}
"""Objects whose names are data."""


def names(value):
    if isinstance(value, list):
        return set().union(*map(names, value))
    if not isinstance(value, dict):
        return set()
    inner = [own for name, own in value.items() if name not in FREE]
    return set(value).union(*map(names, inner))


def test_every_field_is_named(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    audit = finding()
    write_audit(audit, about(), tmp_path)
    write_overview([audit, unread()], about(), tmp_path, {audit.finetune: "audit.html"})
    for name, heading in (("audit", "## `audit.json`"), ("overview", "## `overview.json`")):
        content = json.loads((tmp_path / f"{name}.json").read_text())
        found = names(content)
        assert len(found) > 20
        missing = {one for one in found if f"`{one}`" not in text}
        assert not missing, f"docs/audit.md does not name {missing}"
        assert heading in text


def test_every_choice_is_named():
    text = PAGE.read_text(encoding="utf-8")
    choices = {*ORDER, "confirmed", "not confirmed", "contradicted", "code", "frame", "word"}
    assert all(f"`{choice}`" in text for choice in choices)
