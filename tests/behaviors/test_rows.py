"""Tables are read as written, and every fault is named with its place in one line."""

import hashlib
from pathlib import Path

import pytest

from diffspeak.behaviors.rows import Column, first_few, quoted, read_table
from diffspeak.errors import UsageError

COLUMNS = (Column("topic", ("subject",)), Column("note", required=False))


def cells(path: Path) -> list[tuple[str, str, str]]:
    return [(r.place, r.cells["topic"], r.cells["note"]) for r in read_table(path, COLUMNS).rows]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.csv", "topic,note\njazz, x \n", [("row 2", "jazz", "x")]),
        ("a.csv", "note, Topic\r\nx,jazz\r\n\r\n\r\n", [("row 2", "jazz", "x")]),
        ("a.csv", "topic\rjazz\rtango", [("row 2", "jazz", ""), ("row 3", "tango", "")]),
        ("a.csv", "\ufefftopic\njazz", [("row 2", "jazz", "")]),
        ("a.csv", "SUBJECT,extra\njazz,1", [("row 2", "jazz", "")]),
        ("a.csv", 'topic\n"a, ""b""\nc"\nd\n', [("row 2", 'a, "b"\nc', ""), ("row 3", "d", "")]),
        ("a.csv", "topic,note\njazz", [("row 2", "jazz", "")]),
        ("a.jsonl", '{"topic": "jazz"}\n\n{"topic": "t", "note": null}\n',
         [("line 1", "jazz", ""), ("line 3", "t", "")]),
        ("a.txt", '{"subject": " \\u00e9 ", "note": "n", "n": ""}', [("line 1", "\u00e9", "n")]),
        ("a.csv", "topic\n\U0001f3b7\n\u05e9\u05d7\n",
         [("row 2", "\U0001f3b7", ""), ("row 3", "\u05e9\u05d7", "")]),
    ],
)  # fmt: skip
def test_reads(tmp_path: Path, name: str, data: str, expected: list[tuple[str, str, str]]) -> None:
    path = tmp_path / name
    path.write_bytes(data.encode())
    assert cells(path) == expected
    assert read_table(path, COLUMNS).sha256 == hashlib.sha256(data.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"", ["is empty"]),
        ("a.csv", b" \n\n", ["is empty"]),
        ("a.csv", b"topic,note\n", ["no rows"]),
        ("a.csv", b"name,note\nx,y\n", ["'topic' or 'subject'", "'name', 'note'"]),
        ("a.csv", "topic\nok\nCaf\u00e9\n".encode("latin-1"),
         ["line 3", "UTF-8", "0xe9", "iconv -f latin1 -t utf-8 a.csv"]),
        ("a.csv", "topic\nok\n".encode("utf-16"), ["iconv -f utf-16 -t utf-8 a.csv"]),
        ("a.csv", b"topic,note\n,x\n", ["row 2", "'topic' is empty"]),
        ("a.csv", b"subject\na\n\nb\n", ["row 3", "'subject' is empty"]),
        ("a.csv", b"topic\n" + b"a\n" * 3 + b'""\n' * 5 + b"z",
         ["row 5", "row 6", "row 7: ", "and 2 more", "faults in all: 5"]),
        ("a.csv", b"topic,topic\na,b\n", ["row 1", "'topic' more than once"]),
        ("a.csv", b"topic\na,b\n", ["row 2", "2 cells", "double quotes"]),
        ("a.csv", b'topic\n"open\nb\n', ["line 3", "not CSV", "double quotes"]),
        ("a.jsonl", b'{"topic": "a"}\n{"topic": \n', ["line 2", "not JSON"]),
        ("a.jsonl", b"topic\n", ["line 1", "not JSON"]),
        ("a.jsonl", b"[1]\n", ["line 1", "is a list", "an object is expected"]),
        ("a.jsonl", b'{"topic": 7}', ["line 1", "'topic' is not a text"]),
        ("a.jsonl", b'{"topic": "\\ud800"}', ["line 1", "'topic' is not a text"]),
        ("a.jsonl", b'{"topic": "a"}\n{"note": "b"}', ["line 2", "'topic' is empty"]),
        ("a.jsonl", b'{"note": "b"}', ["lacks the column 'topic' or 'subject'"]),
        ("a.jsonl", b"[" * 100_000, ["line 1", "not JSON"]),
    ],
)  # fmt: skip
def test_faults(tmp_path: Path, name: str, data: bytes, said: list[str]) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_table(path, COLUMNS)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert all(part in message for part in said), message


def test_all_missing_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    with pytest.raises(UsageError, match="lacks the columns 'a', 'b'; it has 'x'"):
        read_table(path, [Column("a"), Column("b")])


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_table(tmp_path / "none.csv", COLUMNS)
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(tmp_path, COLUMNS)


def test_first_few() -> None:
    assert first_few(["a"]) == "'a'"
    assert first_few(list("abcde")) == "'a', 'b', 'c' and 2 more"


def test_quotes_are_short_and_on_one_line() -> None:
    assert quoted("a\nb") == "'a b'"
    assert quoted("word " * 100) == f"'{('word ' * 11).strip()}...'"
