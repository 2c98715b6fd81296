"""The folder of audits: nothing else is overwritten, every finetune has its own safe name."""

import pytest

from diffspeak.audit.output_dir import (
    check_out,
    done_before,
    dtype_of,
    held,
    is_for_audits,
    mark_done,
    safe_names,
)
from diffspeak.errors import LockedError, UsageError
from diffspeak.io.files import write_json
from tests.audit.report.made import finding, nothing

HOSTILE = [
    "../../etc/passwd",
    "..",
    ".",
    "",
    "a/b",
    "a\\b",
    "a\0b",
    "~",
    "/",
    ".ssh",
    "\u202e",
    "C:",
]


def test_names_never_leave_the_folder_and_never_meet(tmp_path):
    keys = [*HOSTILE, "index.html", "AUDITS.json", "a b", "a-b", "A-B", "x" * 300, "x" * 301]
    names = safe_names(keys)
    assert len({name.lower() for name in names}) == len(keys)
    for name in names:
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        assert name.isascii() and not name.startswith(".") and len(name) < 90
        (tmp_path / name).mkdir()
    assert not {"index.html", "audits.json"} & {name.lower() for name in names}
    assert safe_names(["lora-1", "League of Legends"]) == ["lora-1", "League-of-Legends"]


def test_a_folder_of_something_else_is_refused(tmp_path):
    out = tmp_path / "out"
    for found in (tmp_path / "none", tmp_path):
        check_out(found, "loras")
    out.mkdir()
    (out / ".hidden").touch()
    check_out(out, "loras")
    (out / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not empty and holds no audit: give another folder"):
        check_out(out, "loras")
    with pytest.raises(UsageError, match="where a folder was expected"):
        check_out(out / "thesis.tex", "loras")
    with pytest.raises(UsageError, match="give a local folder"):
        check_out(type(out)("s3://bucket/out"), "loras")


def test_audits_of_others_are_not_overwritten(tmp_path):
    out = tmp_path / "out"
    with held(out, "loras", "float32"):
        (out / "page").touch()
    with held(out, "loras", "float32"):
        assert is_for_audits(out)
    with pytest.raises(UsageError, match="holds audits of loras, and these are of others"):
        check_out(out, "others")


def test_a_mark_without_an_audit_does_not_count(tmp_path):
    """It is what a call leaves that was killed before anything was audited."""
    write_json(tmp_path / "audits.json", {"of": "others", "dtype": "float32"})
    (tmp_path / ".audits.lock").touch()
    check_out(tmp_path, "loras")
    with held(tmp_path, "loras", "bfloat16"):
        (tmp_path / "page").touch()
    with pytest.raises(UsageError, match="holds audits of loras"):
        check_out(tmp_path, "others")


def test_one_process_at_a_time(tmp_path):
    with held(tmp_path / "out", "loras", "float32"):
        with (
            pytest.raises(LockedError, match="being written by process"),
            held(tmp_path / "out", "loras", "float32"),
        ):
            raise AssertionError
        (tmp_path / "out" / "page").touch()
    assert is_for_audits(tmp_path / "out")


def test_where_nothing_was_written_nothing_stays(tmp_path):
    with held(tmp_path / "new", "loras", "float32"):
        assert is_for_audits(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".keep").touch()
    with pytest.raises(ZeroDivisionError), held(tmp_path / "old", "loras", "float32"):
        raise ZeroDivisionError
    check_out(tmp_path / "old", "others")
    assert [path.name for path in (tmp_path / "old").iterdir()] == [".keep"]


def test_an_audit_is_kept_while_nothing_has_changed(tmp_path):
    (tmp_path / "audit.html").touch()
    write_json(tmp_path / "audit.json", finding().to_dict())
    assert done_before(tmp_path, "this") is None
    mark_done(tmp_path, "this")
    assert done_before(tmp_path, "this") == finding()
    assert done_before(tmp_path, "that") is None
    write_json(tmp_path / "audit.json", nothing().to_dict())
    assert done_before(tmp_path, "this") is None
    mark_done(tmp_path, "this")
    (tmp_path / "audit.html").unlink()
    assert done_before(tmp_path, "this") is None


def test_the_dtype_is_that_of_the_beginning(tmp_path):
    out = tmp_path / "out"
    assert dtype_of(out) == "auto"
    with held(out, "loras", "bfloat16"):
        (out / "page").touch()
    assert dtype_of(out) == "bfloat16"
    for changed in ({"of": "loras"}, {"of": "loras", "dtype": "int8"}, {"dtype": []}, [1]):
        write_json(out / "audits.json", changed)
        assert dtype_of(out) == "auto"
