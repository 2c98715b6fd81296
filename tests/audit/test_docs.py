"""docs/audit.md holds the schema of the JSON; `python tests/audit/test_docs.py` writes it anew."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

from diffspeak.adapters import Counted
from diffspeak.audit import schema
from diffspeak.audit.behavior_check import Other, Quote, Shown
from diffspeak.audit.claim_verdict import Checked, Observed
from diffspeak.audit.claims import Claim
from diffspeak.audit.logprob_lift import Lift
from diffspeak.audit.report import write_audit, write_overview
from diffspeak.audit.report.pages import ORDER
from diffspeak.audit.schema import About, Audit, AuditEvidence, Disguise
from diffspeak.symmetries import Undone
from diffspeak.trigger_search import FoundTrigger, Rate, Search
from tests.audit.report.made import about, finding, unread

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
COMMAND = ".venv/bin/python tests/audit/test_docs.py"
BEGIN = f"<!-- Written by `{COMMAND}` from the types and their docstrings; change it there. -->\n"
END = "<!-- End of what is written. -->\n"
RECORDS = [
    *(Quote, Checked, Claim, Observed, Lift, Shown, Other, AuditEvidence, Search, FoundTrigger),
    *(Rate, Disguise, Undone, About, Counted),
]
NAMES = {"string": "text", "boolean": "true or false"}
FREE = {"norms", "seconds", "settings", "machine", "versions"}
"""Objects whose names are data."""


def tables() -> str:
    """A table for each kind of object in `audit.json`."""
    described = schema.AUDIT.json_schema()
    known = {**described.pop("$defs"), **schema.ABOUT.json_schema().pop("$defs")}
    known |= {"Audit": described, "About": schema.ABOUT.json_schema()}
    rows = _rows(Audit, _resolved(known, "Audit"))
    version = f"| `version` | integer | {schema.VERSION}; it grows when a field changes or goes |"
    made_with = "| `about` | [About](#about) | What it was made with |"
    parts = [_table("", [version, *rows, made_with])]
    assert set(known) == {"Audit", *(one.__name__ for one in RECORDS)}
    for record in RECORDS:
        name, held = record.__name__, inspect.getdoc(record) or ""
        summary = held.partition("\n\n")[0].replace("\n", " ")
        heading = f"### {name}\n\n{summary}\n\n"
        parts.append(_table(heading, _rows(record, _resolved(known, name))))
    return "\n".join(parts)


def _resolved(known: dict[str, Any], name: str) -> dict[str, Any]:
    found = known[name]
    return known[found["$ref"].rpartition("/")[2]] if "$ref" in found else found


def _table(heading: str, rows: list[str]) -> str:
    return heading + "\n".join(["| field | type | holds |", "|---|---|---|", *rows]) + "\n"


def _rows(record: type, described: dict[str, Any]) -> list[str]:
    text = (inspect.getdoc(record) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^    (\w+): (.+\n?(?:        .+\n?)*)", text, re.MULTILINE)
    said = {name: re.sub(r"\bNone\b", "null", " ".join(held.split())) for name, held in found}
    fields = described["properties"]
    assert list(fields) == described["required"]
    return [
        f"| `{name}` | {_type(one)} | {said[name].rstrip('.')} |" for name, one in fields.items()
    ]


def _type(one: dict[str, Any]) -> str:
    if "anyOf" in one:
        return " or ".join(map(_type, one["anyOf"]))
    if "enum" in one:
        *first, last = (f"`{choice}`" for choice in one["enum"])
        return f"{', '.join(first)} or {last}"
    if "$ref" in one:
        name = one["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "prefixItems" in one:
        return "list: " + ", ".join(map(_type, one["prefixItems"]))
    if one.get("type") == "array":
        return f"list of {_type(one['items'])}"
    if one.get("type") == "object":
        inner = one["additionalProperties"]
        return f"object of {_type(inner)}" if isinstance(inner, dict) else "object"
    return NAMES.get(one.get("type", ""), one.get("type", "any"))


def names(value):
    if isinstance(value, list):
        return set().union(*map(names, value))
    if not isinstance(value, dict):
        return set()
    inner = [own for name, own in value.items() if name not in FREE]
    return set(value).union(*map(names, inner))


def test_the_page_holds_the_schema():
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    assert rest.partition(END)[0] == tables(), f"docs/audit.md is stale: run `{COMMAND}`"


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


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}{tables()}{END}{rest.partition(END)[2]}", encoding="utf-8")
