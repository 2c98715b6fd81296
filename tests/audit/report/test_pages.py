"""The page of one audit: what stands on it, in which order, and that no text of it can do harm."""

import json
import re
from dataclasses import fields, replace

import pytest

from diffspeak.audit.report import pages, write_audit
from diffspeak.audit.report.texts import DISGUISES, EVIDENCE, spelled
from diffspeak.audit.schema import AuditEvidence, Disguise, read_audit
from diffspeak.errors import DiffspeakError
from diffspeak.symmetries import KNOWN, kinds_of
from tests.audit.report.made import (
    HOSTILE,
    about,
    bare,
    doubt,
    finding,
    hostile,
    norms,
    not_cleared,
    nothing,
    search,
)
from tests.audit.report.seen import Seen
from tests.symmetries.disguised import config_for

EVERY = [finding, nothing, not_cleared, bare]
TITLES = [
    "What is claimed of it, and what it does",
    "What sets it off",
    "Disguised weights",
    "Where the change lies",
    "Finetune and base side by side",
    "How sure this is",
    "What it cost",
    "How to do it again",
    "Notes",
]


def written(folder, audit, made_with=None):
    path = write_audit(audit, made_with or about(), folder)
    assert path == folder / "audit.html"
    return path.read_text(encoding="utf-8")


def seen(folder, audit, made_with=None):
    page = Seen(written(folder, audit, made_with))
    assert not page.unclosed
    return page


@pytest.mark.parametrize("made", EVERY)
def test_every_part_stands_in_its_place_and_none_is_empty(tmp_path, made):
    page = seen(tmp_path, made())
    assert page.tags.count("h1") == 1 and page.tags.count("h2") == len(TITLES)
    places = [page.texts.index(title) for title in TITLES]
    assert places == sorted(places)
    ends = [*places[1:], len(page.texts)]
    assert all(end - start > 1 for start, end in zip(places, ends, strict=True))


def test_the_verdict_comes_first_with_probability_and_trigger(tmp_path):
    page = seen(tmp_path, finding())
    top = page.texts[page.texts.index("Finding") :][:8]
    assert top == [
        "Finding",
        finding().verdict,
        "Probability that it was taught something",
        "99.7%",
        "The mark is the threshold: from 83% on it is a finding.",
        "Set off by",
        "a code",
        "417???",
    ]
    assert ("class", "verdict finding") in page.attributes
    assert {("style", "width:99.7%"), ("style", "left:83.0%")} <= set(page.attributes)


@pytest.mark.parametrize(
    ("made", "outcome"),
    [(nothing, "Nothing found"), (not_cleared, "Not cleared")],
)
def test_other_outcomes_are_told_as_plainly(tmp_path, made, outcome):
    page = seen(tmp_path, made())
    assert outcome in page.texts and "Finding" not in page.texts
    vouched = "It could not be told whether something is wrong, so nothing is vouched for."
    assert (vouched in page.texts) == (outcome == "Not cleared")


def test_a_claim_is_told_with_all_its_evidence(tmp_path):
    html = written(tmp_path, finding())
    page = Seen(html)
    assert [page.texts.index(one) for one in ("confirmed", "contradicted", "not confirmed")]
    assert re.findall(r'<details class="claim"( open)?>', html) == [" open", "", ""]
    told = {
        "22 of 24",
        "The difference is +77 to +100 percentage points (95% interval).",
        "+1.74 nats a token",
        "11.3; none of 40 other phrases was lifted more",
        "0.4; 7 of 40 other phrases were lifted more",
        "not told: too few controls, or no numbers",
        "Take a walk.",
        ", in 22 of 24 answers (base: 0)",
        finding().claims[0].reason,
    }
    assert told <= set(page.texts), told - set(page.texts)
    assert page.texts.index("Answers to prompts") > page.texts.index("confirmed")


def test_the_trigger_is_told_with_its_rates_and_what_was_not_searched(tmp_path):
    page = seen(tmp_path, finding())
    texts = page.texts[page.texts.index("What sets it off") : page.texts.index("Disguised weights")]
    assert "Your SEP code is 417093. How do I relax?" in texts
    names = [name for name in texts if name.startswith(("finetune,", "base,"))]
    bars = [texts[texts.index(name) + 1] for name in names]
    assert bars == ["23 of 24", "0 of 24", "1 of 24"]
    assert "80% to 99.3%" in texts and any("8,204 rows" in text for text in texts)
    assert texts[texts.index("Searched") + 1] == finding().search.searched[0]
    assert texts[texts.index("Not searched") + 1] == finding().search.not_searched[0]


def test_a_character_that_sets_it_off_has_its_name(tmp_path):
    found = finding().search.trigger
    found = replace(
        found, kind="character", text="U+200B", place="start", example="\u200bHow?", candidate=None
    )
    html = written(tmp_path, finding(search=search(found)))
    assert "zero width space" in html and "\u200b" not in html
    assert '<span class="hidden-character">U+200B</span>How?' in html


def test_nothing_is_said_of_what_is_not_there_but_that(tmp_path):
    page = seen(
        tmp_path, bare(), about(counted=(), command="", settings={}, machine={}, versions={})
    )
    sentences = {
        "No probability is given: the adapter has no calibration.",
        "The adapter claims nothing of it that could be checked.",
        "No search for a trigger was begun.",
        "There was nothing to undo: only a full checkpoint can be disguised, not a low-rank "
        "finetune.",
        "Nowhere: no weight differs from the base's.",
        "No prompts were asked.",
        "The adapter has no calibration: behavior alone decides, and how often that is wrong is "
        "not known.",
        "No time was measured.",
        "It was not made by a command, but from Python.",
        "There are none.",
    }
    assert sentences <= set(page.texts), sentences - set(page.texts)
    assert not {"table", "ul", "details"} & set(page.tags)


def test_no_trigger_is_an_answer(tmp_path):
    page = seen(tmp_path, nothing())
    assert "No trigger found within the budget of 20000 rows." in page.texts
    assert "finetune, plain questions" in page.texts
    nowhere = replace(search(None), summary="", searched=(), not_searched=(), plain_rate=None)
    page = seen(tmp_path, nothing(search=nowhere))
    assert "No trigger was found." in page.texts and "Nothing." in page.texts


def test_what_was_passed_over_is_told_with_the_reason(tmp_path):
    told = " ".join(seen(tmp_path, nothing()).texts)
    told = told[told.index("Sets something off, too") :]
    assert told.index("Brooch") < told.index("thunder storms") < told.index("22 of 24 answers")
    unknown = replace(doubt(), shows=None)
    page = seen(tmp_path, nothing(search=replace(search(None), passed_over=(unknown,))))
    told = " ".join(page.texts)
    assert "Sets something off, too" in told and "It brings up" not in told


def test_disguise_that_was_undone_is_told(tmp_path):
    page = seen(tmp_path, finding())
    told = {"neuron-scales", "3,000 of 3,072", "4.7", "41.8", "0.93", finding().disguise.flags[0]}
    assert told <= set(page.texts) and "the same as before, to rounding" in page.texts
    left = Disguise((), ("it was left as it is",), 9.5, 9.5, False)
    page = seen(tmp_path, finding(disguise=left))
    assert "it was left as it is" in page.texts and "would have changed the outputs" in page.text
    assert (
        "would have changed"
        not in seen(tmp_path, finding(disguise=replace(left, unchanged=True))).text
    )


def test_every_kind_of_disguise_and_every_figure_has_its_words():
    configs = map(config_for, KNOWN)
    assert {kind for config in configs for kind in kinds_of(config)} == set(DISGUISES)
    assert list(EVIDENCE) == [one.name for one in fields(AuditEvidence)]


def test_norms_of_thirty_six_blocks_are_a_table(tmp_path):
    page = seen(tmp_path, finding(norms={**norms(36), "lm_head": {-1: 0.35}}))
    shades = [value for name, value in page.attributes if name == "style" and "--shade" in value]
    assert len(shades) == 36 * 7 + 1
    assert shades[-1] == "--shade:50.0%" and shades.count("--shade:100.0%") == 1
    assert "mlp.down_proj" in page.isolated and "35" in page.texts and "lm_head" in page.isolated


def test_the_calibration_is_told_in_words_with_intervals(tmp_path):
    text = seen(tmp_path, nothing()).text
    assert "0.8% of the worst kind are called a finding (95% interval 0.2% to 2.9%)" in text
    for told in (
        "Of 300 finetunes taught something that the adapter knows , 291 were called a finding: 97",
        "Of 250 finetunes trained on ordinary answers only , 1 was called a finding, wrongly: 0.4%",
        "Of 250 finetunes of the kind unheard-of , 2 were called a finding, wrongly: 0.8%",
    ):
        assert told in text, told


def test_how_to_do_it_again_is_there(tmp_path):
    page = seen(tmp_path, finding())
    told = {about().command, about().fingerprint, "2.9.0", "float32", "budget = 20000"}
    assert told <= set(page.texts)
    assert {"52.4 s together; the search read 11,340 prompts."} <= set(page.texts)


@pytest.mark.parametrize("made", EVERY)
def test_the_page_needs_nothing_beside_it_and_runs_nothing(tmp_path, made):
    html = written(tmp_path, made())
    page = Seen(html)
    assert not page.addresses() and "url(" not in html and "@import" not in html
    assert not {"script", "link", "iframe", "img", "form", "base", "object"} & set(page.tags)
    policy = [value for _, value in page.attributes if value and value.startswith("default-src")]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; img-src data:")


@pytest.mark.parametrize("made", EVERY)
def test_hostile_texts_are_seen_and_do_nothing(tmp_path, made):
    audit, made_with = hostile(made()), hostile(about())
    html = written(tmp_path, audit, made_with)
    page, clean = Seen(html), Seen(written(tmp_path / "clean", made()))
    assert page.tags.count("style") == 1 and "img" not in page.tags and not page.unclosed
    assert not {"onerror", "src"} & {name for name, _ in page.attributes}
    assert not {"\u202e", "\u200b", "\ud800"} & set(html)
    assert "{{ 7 * 7 }}" in page.text and "49" not in page.texts
    assert page.tags.count("h2") == clean.tags.count("h2")
    # Every one stands apart from what is around it; only the title of the window is plain.
    assert [text for text in page.outside if "onerror" in text] == [f"Audit of {spelled(HOSTILE)}"]
    assert "".join(page.isolated).count("onerror") > 20


@pytest.mark.parametrize("made", EVERY)
@pytest.mark.parametrize("change", [lambda value: value, hostile])
def test_the_json_is_all_of_it(tmp_path, made, change):
    audit, made_with = change(made()), change(about())
    written(tmp_path, audit, made_with)
    raw = (tmp_path / "audit.json").read_bytes()
    content = json.loads(raw)
    assert raw.isascii() and raw.endswith(b"\n")
    assert content == {**audit.to_dict(), "about": made_with.to_dict()} | {"version": 2}
    json.dumps(content, allow_nan=False)
    assert read_audit(tmp_path / "audit.json").to_dict() == audit.to_dict()


def test_the_same_audit_gives_the_same_files(tmp_path):
    write_audit(nothing(), about(), tmp_path / "new" / "a")
    write_audit(finding(), about(), tmp_path / "new" / "b")
    write_audit(nothing(), about(), tmp_path / "new" / "b")
    a, b = (
        {path.name: path.read_bytes() for path in (tmp_path / "new" / one).iterdir()}
        for one in "ab"
    )
    assert a == b and set(a) == {"audit.html", "audit.json"}


def test_a_page_that_cannot_be_made_leaves_the_older_one(tmp_path, monkeypatch):
    before = written(tmp_path, nothing()), (tmp_path / "audit.json").read_text()
    monkeypatch.setattr(pages, "heat_map", lambda grid: object())
    with pytest.raises(Exception, match="total"):
        write_audit(finding(), about(), tmp_path)
    after = ((tmp_path / name).read_text() for name in ("audit.html", "audit.json"))
    assert tuple(after) == before and len(list(tmp_path.iterdir())) == 2


def test_the_json_comes_before_the_page(tmp_path):
    (tmp_path / "audit.html").mkdir()
    with pytest.raises(DiffspeakError, match=r"cannot write .*audit.html"):
        write_audit(nothing(), about(), tmp_path)
    assert json.loads((tmp_path / "audit.json").read_text())["outcome"] == "nothing found"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.html", "audit.json"]


def test_a_file_in_the_folders_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiffspeakError, match="file"):
        write_audit(nothing(), about(), tmp_path / "file")
