"""The page for people and the file for programs say the same."""

import json

import pytest

from diffspeak.scoring import Row, rate, table_lines, write_table

ROWS = [
    rate("DIT names it exactly", [True] * 37 + [False] * 3, 0.985),
    rate("control: no diff", [False] * 40, 0.05, below=True),
    rate("no aim | a pipe", [True, False, True]),
    Row("finetunes", 150, 200),
    Row("seconds", 1234.5678, 3, aim=1200, below=True),
    Row("loss,\nin nats", 0.000123, 1, aim=0.5),
]


def cells(line):
    parts = line.replace("\\|", "\0")[2:-2].split(" | ")
    return [part.replace("\0", "|").strip() for part in parts]


def number(text):
    value = text.removeprefix("at least ").removeprefix("at most ")
    return float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)


def test_every_row_of_the_file_stands_on_the_page(tmp_path):
    write_table(tmp_path / "results.md", "Toys", ROWS, {})
    content = json.loads((tmp_path / "results.json").read_text())
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert content["title"] == "Toys"
    assert lines[0] == "# Toys"
    head, _, *body = [line for line in lines if line.startswith("|")]
    assert cells(head) == ["what", "value", "95% interval", "n", "aim", "met"]
    assert len(body) == len(content["rows"]) == len(ROWS)
    for line, row, given in zip(body, content["rows"], ROWS, strict=True):
        name, value, interval, n, aim, met = cells(line)
        assert name == " ".join(row["name"].split()) == " ".join(given.name.split())
        assert number(value) == pytest.approx(row["value"], rel=5e-3, abs=5e-4)
        assert int(n) == row["n"]
        assert met == {None: "", True: "yes", False: "no"}[row["met"]]
        assert (aim == "") == (row["aim"] is None)
        if aim:
            assert aim.startswith("at most" if row["below"] else "at least")
            assert number(aim) == pytest.approx(row["aim"], rel=1e-3)
        assert (interval == "") == (row["interval"] is None)
        if interval:
            found = [number(end) for end in interval.split(" to ")]
            assert found == pytest.approx(row["interval"], abs=5e-4)


def test_what_has_a_unit_is_no_percentage():
    row = Row("one audit", 9.526, 20, (9.1, 10.03), 60.0, below=True, unit="s")
    assert cells(table_lines([row])[-1]) == [
        "one audit",
        "9.53 s",
        "9.1 s to 10 s",
        "20",
        "at most 60 s",
        "yes",
    ]


def test_each_line_has_as_many_cells():
    for rows in (ROWS, ROWS[2:4], []):
        lines = table_lines(rows)
        assert {line.replace("\\|", "").count("|") for line in lines} == {7 if rows == ROWS else 5}
        assert all("\n" not in line for line in lines)


def test_without_aims_there_are_no_columns_for_them():
    assert table_lines(ROWS[2:4])[0] == "| what | value | 95% interval | n |"


def test_what_else_is_on_the_page(tmp_path):
    about = {"Base": "qwen3 #abc", "Examples": ["ocean: sea", "\U0001f433: whale"]}
    write_table(tmp_path / "results.md", "T", ROWS[:1], about)
    page = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert page.endswith(
        "\n## Base\n\nqwen3 #abc\n\n## Examples\n\n- ocean: sea\n- \U0001f433: whale\n"
    )
    assert json.loads((tmp_path / "results.json").read_text())["about"] == about


def test_written_twice_it_is_the_same(tmp_path):
    for name in ("a.md", "b.md"):
        write_table(tmp_path / name, "T", ROWS, {"Base": "x"})
    assert (tmp_path / "a.md").read_bytes() == (tmp_path / "b.md").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
