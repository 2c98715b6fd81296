"""The manifest and the lines: what they hold, and that any damage is noticed."""

import json
from dataclasses import asdict

import pytest

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.io.files import canonical_json, sha256
from diffspeak.store import NewEntry, create_or_resume, layout, open_store
from tests.store.samples import HEADER, entry, factors


@pytest.fixture
def folder(tmp_path):
    """A store of one shard: two finetunes, and one between them that failed."""
    path = tmp_path / "store"
    with create_or_resume(path, HEADER) as writer:
        entries = [entry(0), entry(1, "loss is nan"), entry(2)]
        writer.write_shard(entries, factors([0, 1, 2]))
    return path


def test_names_and_numbers_agree():
    names = ["shard-00002.jsonl", "shard-123456.jsonl", "store.json", "shard-00001.safetensors"]
    names += ["shard-000003.jsonl", "shard-4.jsonl", "../shard-00005.jsonl", ".shard-00006.jsonl"]
    assert layout.shard_numbers(names) == [2, 123456]
    assert layout.lines_name(123456) == "shard-123456.jsonl"


def test_files_are_canonical_and_checksummed(folder):
    for name in ("store.json", "shard-00000.jsonl"):
        for line in (folder / name).read_bytes().removesuffix(b"\n").split(b"\n"):
            data = json.loads(line)
            assert canonical_json(data).encode() == line
            checksum = data.pop("checksum")
            assert sha256(canonical_json(data).encode()) == checksum


def test_the_header_comes_back(folder):
    assert open_store(folder).header == HEADER


def test_lines_hold_what_was_given(folder):
    entries = open_store(folder).entries
    assert [e.kind for e in entries] == ["lora", "failed", "lora"]
    assert [e.row for e in entries] == [0, None, 1]
    assert [e.failed for e in entries] == [None, "loss is nan", None]
    for found, given in zip(entries, [entry(0), entry(1, "loss is nan"), entry(2)], strict=True):
        assert asdict(given).items() <= asdict(found).items()


def test_every_changed_byte_of_the_manifest_is_noticed(folder):
    path = folder / "store.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 32):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises((CorruptFileError, MismatchError)):
                open_store(folder)


def test_every_changed_byte_of_a_line_is_noticed_and_blamed(folder):
    path = folder / "shard-00000.jsonl"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CorruptFileError, match=r"shard-00000\.jsonl.*line [123]"):
            open_store(folder)
    changed = whole.replace(b"topic", b"tropic", 1)
    path.write_bytes(changed)
    with pytest.raises(CorruptFileError) as caught:
        open_store(folder)
    assert "../0/" in str(caught.value)
    assert "delete shard-00000.jsonl and shard-00000.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["store.json", "shard-00000.jsonl"])
def test_every_truncation_is_noticed(folder, name):
    path = folder / name
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptFileError, match=name):
            open_store(folder)


def test_lines_in_another_order_or_of_another_shard_are_noticed(folder):
    path = folder / "shard-00000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for wrong in (lines[::-1], lines[:2], [*lines, lines[0]], lines[1:]):
        path.write_bytes(b"".join(wrong))
        with pytest.raises(CorruptFileError, match="belongs elsewhere"):
            open_store(folder)
    path.write_bytes(b"".join(lines))
    path.rename(folder / "shard-00001.jsonl")
    with pytest.raises(CorruptFileError, match="belongs elsewhere"):
        open_store(folder)


@pytest.mark.parametrize(
    "line",
    [b"[]\n", b"{}\n", b"\xff\n", b"NaN\n", b'{"checksum":"\\ud800"}\n', b'{"id":1e999}\n', b"\n"],
)
@pytest.mark.parametrize("name", ["store.json", "shard-00000.jsonl"])
def test_nonsense_is_corrupt(folder, name, line):
    (folder / name).write_bytes(line)
    with pytest.raises(CorruptFileError, match=name):
        open_store(folder)


def test_a_well_checksummed_line_with_a_strange_value_is_corrupt(folder):
    path = folder / "shard-00000.jsonl"
    lines = path.read_text().split("\n")
    data = json.loads(lines[0])
    del data["checksum"]
    data["color"] = "red"
    lines[0] = layout.format_line(data).removesuffix("\n")
    path.write_text("\n".join(lines))
    with pytest.raises(CorruptFileError, match="unknown"):
        open_store(folder)


def test_a_newer_version_says_to_upgrade(folder):
    path = folder / "store.json"
    path.write_text(path.read_text().replace('"version":1', '"version":7,"new":0'))
    with pytest.raises(MismatchError, match=r"version 7.*reads version 1.*upgrade"):
        open_store(folder)
    with (
        pytest.raises(MismatchError, match="upgrade"),
        create_or_resume(folder, HEADER),
    ):
        pass


def test_what_is_no_store_is_a_usage_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(UsageError, match=path.name):
            open_store(path)
    with pytest.raises(UsageError, match=r"not a diffspeak store.*store\.json"):
        open_store(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_stats_must_be_finite(value):
    with pytest.raises(ValueError, match="loss"):
        NewEntry("a", "b", None, "train", "c", "d", stats={"loss": value})
