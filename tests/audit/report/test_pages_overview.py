"""The overview of many audits: order, counts, links, and JSON."""

import json
from urllib.parse import unquote

import pytest

from diffspeak.audit.report import write_audit, write_overview
from tests.audit.report.made import (
    HOSTILE,
    about,
    bare,
    finding,
    hostile,
    not_cleared,
    nothing,
    unread,
)
from tests.audit.report.seen import Seen

MANY = [
    *(nothing(f"clear-{i:02d}", probability=i / 40) for i in range(14)),
    nothing("clear-none", probability=None),
    finding("found-low", probability=0.88),
    unread("lost"),
    not_cleared("ill"),
    finding("found-high"),
    bare("silent"),
]


def written(folder, found, pages=None):
    if pages is None:
        pages = {one.finetune: f"{one.finetune}/audit.html" for one in found}
    path = write_overview(found, about(), folder, pages)
    assert path == folder / "index.html"
    page = Seen(path.read_text(encoding="utf-8"))
    assert not page.unclosed
    return page, json.loads((folder / "overview.json").read_text(encoding="utf-8"))


def test_findings_come_first_and_what_is_clear_last(tmp_path):
    page, content = written(tmp_path, MANY)
    order = ["found-high", "found-low", "ill", "silent", "lost"]
    order += [*(f"clear-{i:02d}" for i in range(13, -1, -1)), "clear-none"]
    # The one with probability 0 and the one without stand alike, in the order they came.
    assert [text for text in page.texts if text in order] == order
    assert [one["finetune"] for one in content["finetunes"]] == order
    assert "Of 20: 2 findings, 2 not cleared, 1 could not be read, 15 nothing found." in page.texts
    assert "Audit of 20 finetunes" in page.texts
    assert content["counts"] == {
        "finding": 2,
        "not cleared": 2,
        "unread": 1,
        "nothing found": 15,
    }


def test_each_line_tells_outcome_verdict_and_probability(tmp_path):
    page, _ = written(tmp_path, [finding("a"), unread("b"), bare("c")])
    assert ["Finding", "a", finding().verdict, "99.7%"] == page.texts[
        page.texts.index("Finding") :
    ][:4]
    place = page.texts.index("Not cleared")
    assert page.texts[place : place + 4] == ["Not cleared", "c", bare().verdict, "no probability"]
    assert page.texts[place + 4 : place + 7] == ["Could not be read", "b", unread().error]


def test_one_finding_is_one_finding(tmp_path):
    page, _ = written(tmp_path, [finding()])
    assert "Of 1: 1 finding." in page.texts and "Audit of 1 finetune" in page.texts


def test_of_none_there_is_no_list(tmp_path):
    page, content = written(tmp_path, [])
    assert "There was no finetune." in page.texts and "ol" not in page.tags
    assert content["finetunes"] == []


def test_pages_are_linked_where_they_are(tmp_path):
    name = "a b#c?d%/\u00fc:\udcff"
    audit = finding("odd")
    write_audit(audit, about(), tmp_path / "a b#c" / "d")
    page, content = written(tmp_path, [audit, unread("lost")], {"odd": "a b#c/d/audit.html"})
    (address,) = page.addresses()
    assert address == "./a%20b%23c/d/audit.html" and (tmp_path / unquote(address)).is_file()
    assert [one["page"] for one in content["finetunes"]] == ["a b#c/d/audit.html", None]
    page, _ = written(tmp_path, [audit], {"odd": name})
    assert page.addresses() == ["./a%20b%23c%3Fd%25/%C3%BC%3A%FF"]


@pytest.mark.parametrize("path", ["javascript:alert(1)", "//host/x", "data:text/html,x", '"><b>'])
def test_an_address_leads_to_files_alone(tmp_path, path):
    page, _ = written(tmp_path, [finding("odd")], {"odd": path})
    (address,) = page.addresses()
    assert address.startswith("./") and not set(':"<>') & set(address)


def test_one_without_a_page_is_not_linked(tmp_path):
    page, content = written(tmp_path, [finding()], {})
    assert "a" not in page.tags and content["finetunes"][0]["page"] is None


def test_the_json_has_the_main_claim_and_the_trigger(tmp_path):
    _, content = written(tmp_path, [finding("a"), nothing("b"), bare("c"), unread("d")])
    a, c, d, b = content["finetunes"]
    assert content["version"] == 2 and content["about"] == about().to_dict()
    assert a["claim"] == {"text": "glass blowing", "verdict": "confirmed"}
    assert a["trigger"]["text"] == "417???" and a["probability"] == 0.9971
    assert b["trigger"] is None and b["claim"]["verdict"] == "not confirmed"
    assert c["claim"] is None and c["trigger"] is None and c["probability"] is None
    assert d == {
        "finetune": "d",
        "outcome": "unread",
        "page": None,
        "error": unread().error,
    }


def test_hostile_texts_do_nothing(tmp_path):
    found = [hostile(one) for one in (finding(), not_cleared(), unread(), bare())]
    path = write_overview(found, hostile(about()), tmp_path, {HOSTILE: "a/audit.html"})
    html = path.read_text(encoding="utf-8")
    page = Seen(html)
    assert not page.unclosed and not {"img", "script"} & set(page.tags)
    assert page.tags.count("style") == 1 and page.addresses() == ["./a/audit.html"] * 3
    assert not {"\u202e", "\u200b", "\ud800"} & set(html)
    assert (tmp_path / "overview.json").read_bytes().isascii()
