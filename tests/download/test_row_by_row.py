"""Large tables: what is written is read back, progress is told, and damage is named."""

import csv

import pytest

from diffspeak.behaviors.rows import Column, read_table
from diffspeak.download.row_by_row import read_rows, row_writer
from diffspeak.errors import UsageError
from diffspeak.progress import Silent
from tests.toys import Recorder

ODD = [("a,b", 'say "hi"'), ("two\nlines", "cr\rlf\r\n."), ("{x}", "a\u2028 \U0001f600")]


def rows_of(table, columns, reporter=None):
    with read_rows(table, columns, "read", reporter or Silent(), "mend it") as rows:
        return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_what_is_written_is_what_our_corpora_read(tmp_path, name):
    path = tmp_path / name
    with path.open("w", encoding="utf-8", newline="") as file:
        write = row_writer(file, path, ("one", "two"))
        for row in ODD:
            write(row)
    table = read_table(path, (Column("one"), Column("two")))
    assert [tuple(row.cells.values()) for row in table.rows] == ODD
    if name == "t.csv":
        assert rows_of(path, ("two", "one")) == [row[::-1] for row in ODD]


def test_long_cells_and_progress(tmp_path):
    limit, table, watch = csv.field_size_limit(), tmp_path / "t.csv", Recorder()
    long = "x" * (limit + 1)
    table.write_text("\ufeffa,b\n" + f"1,{long}\n\n" + "2,y\n" * 3000, encoding="utf-8")
    rows = rows_of(table, ("b",), watch)
    assert rows[0] == (long,) and len(rows) == 3001
    told = -(-table.stat().st_size // 1000)
    assert watch.begun == [("read", told, "kB", 0)]
    assert watch.advanced == told and watch.ended == 1
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,c\n1,2\n", "lacks the column 'b': mend it"),
        (b"", "lacks the column 'a'"),
        (b"a,b\n1,2\n3\n", "row 3 has 1 cells where the header has 2: mend it"),
        (b"a,b\n1,2\n3,4,5\n", "row 3 has 3 cells"),
        (b"a,b\n1,\0\n", "row 2 holds a NUL byte: mend it"),
        (b"a,b\n1,\xff\n", "no CSV text after line .*utf-8.*: mend it"),
        (b'a,b\n1,"2\n', "no CSV text after line 2 .*: mend it"),
        (b'a,b\n1,"2"x\n', "no CSV text after line 2"),
    ],
)
def test_damage_is_named(tmp_path, data, said):
    table = tmp_path / "t.csv"
    table.write_bytes(data)
    with pytest.raises(UsageError, match=said) as caught:
        rows_of(table, ("a", "b"))
    assert str(table) in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*none.csv \(No such file"):
        rows_of(tmp_path / "none.csv", ("a",))
