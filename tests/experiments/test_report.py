"""A run's report from invented outcomes: what stands in it, what is escaped, what is refused."""

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.experiments import ExperimentConfig, RowConfig, write_report
from diffspeak.experiments.guesses import GuessRecord
from diffspeak.experiments.results import RowResult, write_table_files
from diffspeak.models import Fingerprint
from diffspeak.store import NewEntry, StoreHeader, create_or_resume

HOSTILE = "<script>x</script> | `a`\n# \u200bb\u202e ![i](http://e)"
BEHAVIOR = {"name": "hidden-topic", "topics": "/elsewhere/t.csv", "questions": "q.csv"}
SEEN = "<script>x</script> | `a` # \\u200bb\\u202e ![i](http://e)"


def scored(name, score, *, truth="Tea", guess="Chess", evidence=(), why=""):
    return GuessRecord("", name, truth, guess, tuple(evidence), score, why, truth == guess)


def told(name, *seeds, seconds=1.5, **settings):
    row = RowConfig(name=name, test="topics", **{"method": "base-question", **settings})
    own = tuple(tuple(replace(one, row=name) for one in seed) for seed in seeds)
    return RowResult(row, own, seconds, None)


def write(folder, name, rows, *, when=1, **settings):
    """An experiment's folder, as if it had been run at a time."""
    experiment = ExperimentConfig(
        name=name,
        base={"source": "pocket"},
        stores={"topics": {"behavior": BEHAVIOR}},
        rows=tuple(one.row for one in rows),
        **{"title": name.title(), "figure": "curve", "axis": "steps", **settings},
    )
    write_table_files(folder, experiment, "local", "/elsewhere/pocket", rows)
    os.utime(folder / name / "table.json", (when, when))


def plain_rows(**settings):
    right = [scored(f"r{i}", 5.0, truth=f"Right {i}", guess=f"Right {i}") for i in range(12)]
    wrong = [scored(f"w{i}", 3.9 - i / 10, truth=f"Wrong {i}") for i in range(12)]
    other = [scored("r0", None, guess=None, why="no guess")] * 3 + [scored("r1", 2.0)]
    return [told("first", right + wrong, x=1, **settings), told("second", other, x=2)]


class Seen(HTMLParser):
    """Text, tags and addresses of a page."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.tags, self.addresses = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(" ".join(data.split()))


def pages(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8"), (folder / "report.md").read_text(encoding="utf-8")


def test_one_experiment_is_told_with_numbers_examples_and_what_was_unscored(tmp_path):
    write(tmp_path, "topic", plain_rows(), about="Which topic?")
    html, markdown = pages(tmp_path)
    seen = Seen(html)
    assert "nav" not in seen.tags and seen.tags.count("h1") == 1
    assert [t for t in seen.texts if t.startswith("Right ")][1::2] == [
        f"Right {i}" for i in range(10)
    ]
    wrong = [t for t in seen.texts if re.fullmatch(r"Wrong \d+", t)]
    assert wrong == [f"Wrong {i}" for i in range(11, 1, -1)]
    mean = (5 * 12 + sum(3.9 - i / 10 for i in range(12))) / 24
    assert f"{mean:.2f}" in seen.texts and "50%" in seen.texts and "Which topic?" in seen.texts
    place = seen.texts.index("Not scored")
    assert [t for t in seen.texts[place:] if t][4:7] == ["second", "no guess", "3"]
    assert "| second | no guess | 3 |" in markdown and f"**{mean:.2f}**" in markdown
    table = (tmp_path / "topic" / "table.md").read_text().split("\n\n")[-1].strip()
    assert table in markdown and "![the figure](topic/figure.png)" in markdown


def test_the_page_needs_nothing_beside_it(tmp_path):
    write(tmp_path, "topic", plain_rows())
    html, _ = pages(tmp_path)
    seen = Seen(html)
    assert [a.split(",")[0] for a in seen.addresses] == ["data:image/png;base64"]
    assert not {"script", "link", "iframe"} & set(seen.tags) and "url(" not in html
    assert "/elsewhere" not in html and 'behavior.topics = "t.csv"' in seen.texts


def test_what_comes_from_strangers_is_escaped_and_seen(tmp_path):
    one = scored("f", 1.0, truth=HOSTILE, guess=HOSTILE, evidence=[HOSTILE] * 7)
    lost = scored("g", None, guess=None, why=HOSTILE)
    alone = scored("h", 2.0, truth="\u200d\u200c", guess="")
    write(tmp_path, "odd", [told(HOSTILE, [one, lost, alone], x=1)], title=HOSTILE, about=HOSTILE)
    html, markdown = pages(tmp_path)
    seen = Seen(html)
    assert "script" not in seen.tags and seen.tags.count("img") == 1
    # Title twice, about, row: what its numbers are of, table, examples, unscored, how it was made.
    assert seen.texts.count(SEEN) >= 8 + 5 and "and 2 more in guesses.jsonl" in seen.texts
    assert "\\u200d\\u200c" in seen.texts and "(nothing)" in seen.texts
    assert not {"\u200b", "\u202e", "\u200d"} & set(html + markdown)
    assert "<script>" not in markdown and "![i]" not in markdown
    escaped = r"\<script\>x\</script\> | \`a\` \# \\u200bb\\u202e !\[i\](http://e)"
    assert f"# {escaped}\n" in markdown and f"1: **{escaped}**, guess: {escaped}\n" in markdown
    assert f"| {escaped.replace('|', chr(92) + '|')} |" in markdown


def test_several_stand_in_the_order_in_which_they_were_run(tmp_path):
    write(tmp_path, "later", plain_rows(), when=2)
    write(tmp_path, "sooner", plain_rows(), when=1)
    (tmp_path / "guesses").mkdir()
    html, markdown = pages(tmp_path)
    seen = Seen(html)
    titles = [text for text in seen.texts if text in ("Sooner", "Later")]
    assert titles == ["Sooner", "Later"] * 2 and seen.addresses[:2] == ["#e1", "#e2"]
    assert "Experiments on pocket" in seen.texts and html.count("steps: first") == 6
    assert markdown.index("[Sooner](#experiment-1)") < markdown.index("[Later](#experiment-2)")


def test_a_row_without_scores_does_not_stand_for_the_experiment_unless_all_are(tmp_path):
    none = [scored("f", None, guess=None, why="the provider failed")]
    write(tmp_path, "a", [told("none", none, x=1), told("some", [scored("f", 4.0)], x=2)])
    assert "steps: some" in pages(tmp_path)[1]
    write(tmp_path, "a", [told("none", none, x=1), told("empty", x=2)])
    html, markdown = pages(tmp_path)
    assert "**steps: none**: mean score **-**" in markdown and "the provider failed" in html
    assert "No guess is scored 4 or more." in html


def test_the_whole_published_table_stands_beside(tmp_path):
    write(tmp_path, "topic", plain_rows(paper="hidden-topic/DIT"))
    html, markdown = pages(tmp_path)
    row = "| base question, with trigger | 2.79 | 3.28 | 3.12 | 3.40 | 4.09 |"
    assert row in markdown and "arXiv 2510.05092" in markdown and "arXiv 2510.05092" in html
    assert html.count('<tr class="named">') == 2, "the main line, and what it is compared with"
    write(tmp_path, "topic", plain_rows(paper="trigger-inversion/exact"))
    assert "Share, 0 to 1" in pages(tmp_path)[0]


def test_of_several_seeds_each_finetune_is_an_example_once(tmp_path):
    seeds = [[scored("f", score, truth=f"at {score}")] for score in (3.0, 1.0, 2.0)]
    rows = [told("first", *seeds, x=1, method="base-question", seeds=(0, 1, 2))]
    write(tmp_path, "topic", rows)
    html, _ = pages(tmp_path)
    assert [text for text in Seen(html).texts if re.match(r"at \d\.", text)] == ["at 1.0"]
    assert "0, 1, 2" in Seen(html).texts


def test_versions_choices_and_the_fingerprint_are_told(tmp_path):
    write(tmp_path, "topic", plain_rows())
    html, _ = pages(tmp_path)
    assert "fingerprint" not in html, "what is not known is left out"
    (tmp_path / "versions.json").write_text('[{"torch": "2.9"}, {"torch": "3.0"}]')
    (tmp_path / "choices.json").write_text('{"device": "cpu"}')
    mark = Fingerprint("Tiny 3x32", "abcdefgh", "12345678", "t", "c")
    base = {"name": "pocket", **mark.to_dict()}
    header = StoreHeader({}, base, ("x",), 1, 1.0, "float32", {})
    entry = NewEntry("bad", "x", None, "train", "", "hidden-topic", "not finite")
    with create_or_resume(tmp_path / "stores" / "topics", header) as writer:
        writer.write_shard([entry], {})
    html, markdown = pages(tmp_path)
    assert {"torch 2.9; then torch 3.0", "device cpu", str(mark)} <= set(Seen(html).texts)
    assert "- versions: torch 2.9; then torch 3.0\n" in markdown


def test_the_same_run_gives_the_same_report(tmp_path):
    write(tmp_path, "topic", plain_rows())
    assert pages(tmp_path) == pages(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_a_figure_that_was_removed_is_missed(tmp_path):
    write(tmp_path, "topic", plain_rows())
    (tmp_path / "topic" / "figure.png").unlink()
    html, markdown = pages(tmp_path)
    assert "figure.png was removed" in html and "![the figure]" not in markdown


def test_a_folder_without_results_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="holds no results to report: fill it with"):
            write_report(folder)
    assert not list(tmp_path.iterdir())


def without(key):
    def change(text):
        data = json.loads(text)
        del data[key]
        return json.dumps(data)

    return change


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("table.json", lambda text: text[:-9], "not valid JSON"),
        ("table.json", lambda text: "[]", "all of it"),
        ("table.json", lambda text: text.replace('"low":', '"lower":'), r"lines.0.low: Field"),
        ("table.json", lambda text: re.sub('"low":[^,]+', '"low":null', text), "has an interval"),
        *(("table.json", without(key), key) for key in ("title", "judge", "lines", "config")),
        ("guesses.jsonl", lambda text: text[:-9], "line 28 is not JSON"),
        ("guesses.jsonl", lambda text: text[: text.rindex("{")], "27 lines, where the table"),
        ("guesses.jsonl", lambda text: text.replace('"truth"', '"lie"', 1), "truth: Field"),
    ],
)
def test_a_cut_or_changed_file_is_named(tmp_path, name, change, what):
    write(tmp_path, "topic", plain_rows())
    path = tmp_path / "topic" / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(CorruptFileError, match=f"{name}.*{what}"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists() and not (tmp_path / "report.md").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("versions.json", "{}"), ("versions.json", "[1]"), ("choices.json", "[]")],
)
def test_other_files_of_the_run_are_checked_too(tmp_path, name, text):
    write(tmp_path, "topic", plain_rows())
    (tmp_path / name).write_text(text)
    with pytest.raises(CorruptFileError, match=name):
        write_report(tmp_path)


def test_a_study_is_reported_from_its_results(tmp_path):
    rows = [
        {"name": "DIT names it", "value": 0.97, "n": 100, "interval": [0.915, 0.99]},
        {"name": "finetunes, train", "value": 96, "n": 220, "interval": None},
    ]
    about = {"Examples": [f"Tea: {HOSTILE}"], "Note": "as it is"}
    results = {"title": "hidden-topic on pocket", "rows": rows, "about": about}
    (tmp_path / "results.json").write_text(json.dumps(results))
    html, markdown = pages(tmp_path)
    seen = Seen(html)
    assert "script" not in seen.tags and f"Tea: {SEEN}" in seen.texts
    assert {"hidden-topic on pocket", "97.0%", "91.5% to 99.0%", "96", "as it is"} <= set(
        seen.texts
    )
    assert "| DIT names it | 97.0% | 91.5% to 99.0% | 100 |" in markdown
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows}))
    with pytest.raises(CorruptFileError, match=r"results.json.*title"):
        write_report(tmp_path)
