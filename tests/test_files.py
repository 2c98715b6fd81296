"""Canonical JSON, atomic writes, added lines and locks."""

import errno
import io
import math
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffspeak.errors import CorruptFileError, DiffspeakError, LockedError, UsageError
from diffspeak.io import files

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_canonical_json_comes_back_and_is_the_only_spelling(data):
    text = files.canonical_json(data)
    assert files.parse_json(text) == data
    assert files.canonical_json(files.parse_json(text)) == text
    assert "\n" not in text


def test_canonical_json_is_compact_sorted_and_keeps_characters():
    assert files.canonical_json({"b": (1, 2.5), "a": "\u00e9\U0001f600"}) == (
        '{"a":"\u00e9\U0001f600","b":[1,2.5]}'
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_canonical_json_holds_no_number_that_json_lacks(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.canonical_json({"loss": number})


def test_half_a_surrogate_pair_is_a_usage_error():
    with pytest.raises(UsageError, match="surrogate"):
        files.canonical_json({"label": "x\ud83d"})


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", '{"a": Infinity}', b"\xff\xfe", "[" * 100_000, "1 2"]
)
def test_what_is_not_json_is_a_value_error_and_a_corrupt_file(tmp_path, text):
    with pytest.raises(ValueError):
        files.parse_json(text)
    path = tmp_path / "data.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CorruptFileError, match=r"data\.json.*restore"):
        files.read_json(path)


def test_missing_json_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DiffspeakError, match=r"none\.json"):
        files.read_json(tmp_path / "none.json")


@pytest.mark.timeout(20)
def test_nobody_waits_for_a_pipe_or_reads_a_device_to_its_end(tmp_path):
    os.mkfifo(tmp_path / "data.json")
    with pytest.raises(CorruptFileError, match=r"data\.json is not valid JSON"):
        files.read_json(tmp_path / "data.json")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(DiffspeakError, match="cannot read .*zero .it is not a file"):
        files.read_bytes(tmp_path / "zero")
    with pytest.raises(DiffspeakError, match="cannot read"):
        files.read_bytes(tmp_path)


def test_a_pipe_that_somebody_writes_to_is_read_to_its_end():
    """As a shell gives it in place of a file."""
    reading, writing = os.pipe()
    os.write(writing, b"[1,")
    writer = threading.Timer(0.05, lambda: (os.write(writing, b"2]"), os.close(writing)))
    writer.start()
    assert files.read_json(Path(f"/dev/fd/{reading}")) == [1, 2]
    writer.join()
    os.close(reading)


def test_write_json_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "data.json"
    files.write_json(path, {"a": 1})
    files.write_json(path, {"a": "\u2028"})
    assert path.read_bytes() == '{"a":"\u2028"}\n'.encode()
    assert files.read_json(path) == {"a": "\u2028"}
    assert [found.name for found in tmp_path.iterdir()] == ["data.json"]


def test_atomic_path_gives_the_mode_that_the_umask_asks_for(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    with files.atomic_path(tmp_path / "ours") as temporary:
        private = tmp_path / "private"
        private.touch(mode=0o600)
        private.replace(temporary)
    assert (tmp_path / "ours").stat().st_mode == ordinary.stat().st_mode
    assert stat.S_ISREG(ordinary.stat().st_mode)


def test_a_failing_body_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "data"
    path.write_text("old")
    with pytest.raises(KeyError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyError("x")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path, monkeypatch, call, number):
    path = tmp_path / "data"
    path.write_text("old")

    def full(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DiffspeakError, match=r"no space .*data.*run the same command again"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["data"]


def test_a_folder_that_cannot_be_flushed_is_no_error_but_a_file_is(tmp_path, monkeypatch):
    flush = os.fsync

    def fussy(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fussy)
    files.write_text(tmp_path / "data", "new")
    assert (tmp_path / "data").read_text() == "new"


def test_writing_where_no_folder_is_says_so(tmp_path):
    with pytest.raises(DiffspeakError, match=r"cannot write .*data"):
        files.write_text(tmp_path / "missing" / "data", "new")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="a folder was expected"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(UsageError, match="a folder was expected"):
        files.make_folder(tmp_path / "file" / "below")


def test_lines_are_added_and_read_again(tmp_path):
    path = tmp_path / "lines"
    assert files.append_json(path, ()) == 0 and path.read_bytes() == b""
    assert files.append_json(path, [{"b": 1, "a": "\u00e4\u2028"}]) == len(path.read_bytes())
    assert files.append_json(path, [[2], 3]) == len(path.read_bytes())
    assert path.read_bytes() == '{"a":"\u00e4\u2028","b":1}\n[2]\n3\n'.encode()
    assert [files.parse_json(line) for line in files.whole_lines(path)] == [
        {"a": "\u00e4\u2028", "b": 1}, [2], 3
    ]  # fmt: skip
    with pytest.raises(DiffspeakError, match="cannot read .*none .*: check the path"):
        files.whole_lines(tmp_path / "none")


@pytest.mark.parametrize("torn", [b"{", b'{"a":"\xc3', b"[1]"])
@pytest.mark.parametrize("whole", [b"", b"1\n", b"1\n\n"])
def test_a_torn_last_line_is_no_line_and_is_cut_off_before_the_next(tmp_path, whole, torn):
    path = tmp_path / "lines"
    path.write_bytes(whole + torn)
    assert files.whole_lines(path) == whole.splitlines()
    assert files.append_json(path, ()) == len(whole) and path.read_bytes() == whole
    path.write_bytes(whole + torn)
    files.append_json(path, [2, 3])
    assert path.read_bytes() == whole + b"2\n3\n"


ONE = b'"one"\n'


@pytest.mark.parametrize(("room", "kept"), [(0, b""), (2, b""), (5, b""), (6, ONE), (9, ONE)])
def test_a_disk_that_fills_up_while_lines_are_added(tmp_path, monkeypatch, room, kept):
    class Full(io.FileIO):
        def write(self, lines):
            if not room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(lines[:room])

    path = tmp_path / "lines"
    files.append_json(path, [1])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode, buffering: Full(path, "a+"))
        with pytest.raises(DiffspeakError, match=r"no space .*lines: free some space"):
            files.append_json(path, ["one", "two"])
    assert b"\n".join([*files.whole_lines(path), b""]) == b"1\n" + kept
    files.append_json(path, [2])
    assert path.read_bytes() == b"1\n" + kept + b"2\n"


def test_nothing_is_added_of_what_no_file_can_hold(tmp_path):
    files.append_json(tmp_path / "lines", [1])
    with pytest.raises(UsageError, match="surrogate"):
        files.append_json(tmp_path / "lines", [2, "x\ud83d"])
    assert (tmp_path / "lines").read_bytes() == b"1\n"
    with pytest.raises(DiffspeakError, match="cannot write"):
        files.append_json(tmp_path, [1])


def test_a_second_holder_is_refused_at_once_and_told_who_holds(tmp_path):
    lock = tmp_path / ".lock"
    refused = pytest.raises(LockedError, match=str(os.getpid()))
    with files.exclusive(lock), refused, files.exclusive(lock):
        pass
    with files.exclusive(lock):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    lock = tmp_path / ".lock"
    code = (
        "import sys, time; from pathlib import Path; from diffspeak.io.files import exclusive\n"
        f"with exclusive(Path({str(lock)!r})): print('held', flush=True); time.sleep(60)"
    )
    source = Path(files.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(source)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=str(process.pid)), files.exclusive(lock):
            pass
        process.kill()
        process.wait()
        with files.exclusive(lock):
            pass


def test_sha256_runs_over_all_chunks():
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(b"a", memoryview(b"bc")) == files.sha256(b"abc") == expected
