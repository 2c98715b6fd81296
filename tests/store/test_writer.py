"""Writing a store: shards, resuming, refusing, and full disks."""

import errno
import os
import re
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from diffspeak.errors import (
    CorruptFileError,
    DiffspeakError,
    LockedError,
    MismatchError,
    UsageError,
)
from diffspeak.store import Store, create_or_resume, open_store, tensors
from tests.store.killed import write
from tests.store.samples import HEADER, content, entry, factors, state


def test_a_shard_is_safetensors_in_peft_orientation_without_failed_rows(tmp_path):
    with Store.create_or_resume(tmp_path, HEADER) as writer:
        assert writer.done == set()
        writer.write_shard([entry(0), entry(1, "nan"), entry(2)], factors([0, 1, 2]))
        assert writer.done == {entry(n).id for n in (0, 1, 2)}
    found = load_file(tmp_path / "shard-00000.safetensors")
    for module, (A, B) in factors([0, 2]).items():
        assert torch.equal(found.pop(f"{module}.A"), A)
        assert torch.equal(found.pop(f"{module}.B"), B)
    assert found == {}
    assert set(content(tmp_path)) == {
        "store.json",
        "shard-00000.safetensors",
        "shard-00000.jsonl",
    }


def test_a_shard_of_failures_alone_is_kept(tmp_path):
    with create_or_resume(tmp_path, HEADER) as writer:
        writer.write_shard([entry(0, "nan")], factors([0]))
        writer.write_shard([entry(1, "nan")], {})
        writer.write_full(entry(2, "nan"), {})
    assert [e.kind for e in open_store(tmp_path).entries] == ["failed"] * 3


def test_equal_runs_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name)
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.parametrize(
    "changed",
    [{"rank": 5, "settings": {"steps": 7}}, {"choices": {"threads": 1, "dtype": "bfloat16"}}],
)
def test_a_store_without_finetunes_is_begun_anew(tmp_path, changed):
    """As one is left whose training failed, or was killed, before its first shard."""
    other = replace(HEADER, **changed)
    with create_or_resume(tmp_path, HEADER):
        pass
    with create_or_resume(tmp_path, other) as writer:
        assert writer.header == other
    assert open_store(tmp_path).header == other


def test_once_it_holds_a_finetune_it_stays_what_it_is(tmp_path):
    with create_or_resume(tmp_path, HEADER) as writer:
        writer.write_shard([entry(1, failed="not finite")], {})
    with pytest.raises(MismatchError, match="was made with other settings: rank"):
        create_or_resume(tmp_path, replace(HEADER, rank=5)).__enter__()
    with create_or_resume(tmp_path, replace(HEADER, choices={"dtype": "bfloat16"})) as writer:
        assert writer.header == HEADER


def test_resuming_keeps_the_choices_on_disk_and_goes_on(tmp_path):
    with create_or_resume(tmp_path, HEADER) as writer:
        writer.write_shard([entry(0)], factors([0]))
    with create_or_resume(tmp_path, replace(HEADER, choices={"threads": 64})) as writer:
        assert writer.choices == {"threads": 1}
        assert writer.done == {entry(0).id}
        writer.write_shard([entry(1)], factors([1]))
    assert [e.shard for e in open_store(tmp_path).entries] == [0, 1]


def test_a_deleted_shard_is_trained_again_in_its_place(tmp_path):
    write(tmp_path)
    before = content(tmp_path)
    for name in ("shard-00000.jsonl", "shard-00000.safetensors"):
        (tmp_path / name).unlink()
    write(tmp_path)
    assert content(tmp_path) == before
    (tmp_path / "shard-00001.jsonl").unlink()
    shutil.rmtree(tmp_path / "full-00001")
    write(tmp_path)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"base": {"architecture": "tiny", "kept": "xyz"}}, 'base.kept ("abc" there, "xyz" now)'),
        ({"behavior": {"name": "news"}}, "behavior.name"),
        ({"settings": {"steps": 10, "rate": 1e-3, "mix": {"plain": 3}}}, "settings.mix.plain"),
        ({"settings": {"steps": 10}}, "settings.rate (0.001 there, absent now)"),
        ({"rank": 3}, "rank (2 there, 3 now)"),
        ({"targets": ("up",)}, "targets"),
        ({"dtype": "bfloat16"}, "dtype"),
    ],
)
def test_other_settings_are_refused_by_name_and_touch_nothing(tmp_path, change, named):
    write(tmp_path)
    (tmp_path / "shard-00009.safetensors").touch()
    before = content(tmp_path)
    with (
        pytest.raises(MismatchError) as caught,
        create_or_resume(tmp_path, replace(HEADER, **change)),
    ):
        pass
    assert named in str(caught.value)
    assert content(tmp_path) == before


def test_a_run_goes_on_with_smaller_passes(tmp_path):
    with Store.create_or_resume(tmp_path, HEADER):
        pass
    how = {"max_tokens": 512, "checkpointing": True}
    smaller = replace(HEADER, settings={**HEADER.settings, **how})
    with Store.create_or_resume(tmp_path, smaller) as writer:
        assert writer.done == set()
    assert open_store(tmp_path).header.settings == HEADER.settings


def test_a_base_that_was_moved_is_the_same_base(tmp_path):
    write(tmp_path)
    before = content(tmp_path)
    moved = replace(HEADER, base={**HEADER.base, "name": "elsewhere/base"})
    with create_or_resume(tmp_path, moved) as writer:
        assert writer.done
    assert content(tmp_path) == before


def test_a_second_writer_is_refused_at_once_and_readers_are_not(tmp_path):
    with create_or_resume(tmp_path, HEADER) as writer:
        with pytest.raises(LockedError), create_or_resume(tmp_path, HEADER):
            pass
        writer.write_shard([entry(0)], factors([0]))
        assert len(open_store(tmp_path)) == 1


def test_leftovers_are_swept_and_nothing_else(tmp_path):
    write(tmp_path)
    before = content(tmp_path)
    (tmp_path / "full-00007").mkdir()
    for name in (
        "full-00007/model.safetensors",
        "shard-00008.safetensors",
        ".shard-00008.jsonl.0123abcd.tmp",
        ".store.json.0123abcd.tmp",
        ".tmpAbC123",
    ):
        (tmp_path / name).touch()
    kept = [".tmpfile.txt", "notes.tmp", "shard-8.safetensors", "full-00007.txt"]
    for name in kept:
        (tmp_path / name).touch()
    write(tmp_path)
    assert content(tmp_path) == before | dict.fromkeys(kept, b"")
    assert not (tmp_path / "full-00007").exists()


def test_a_damaged_store_is_not_gone_on_with(tmp_path):
    write(tmp_path)
    path = tmp_path / "shard-00000.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    before = content(tmp_path)
    with pytest.raises(CorruptFileError, match="shard-00000"):
        write(tmp_path)
    assert content(tmp_path) == before
    (tmp_path / "store.json").unlink()
    with pytest.raises(CorruptFileError, match=r"no store\.json"):
        write(tmp_path)


@pytest.mark.parametrize("path", ["s3://bucket/x", "file"])
def test_places_that_cannot_be_written_are_usage_errors(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError), create_or_resume(path, HEADER):
        pass


def misfits():
    good = factors([0, 1])
    A, B = good["model.layers.0.q"]
    yield [entry(0), entry(1)], {"q": (A[:1], B)}
    yield [entry(0), entry(1)], {"q": (A, B[:, :, :1])}
    yield [entry(0), entry(1)], {"q": (A[0], B[0])}
    yield [entry(0), entry(1)], {"q": (A.double(), B)}
    yield [entry(0), entry(1)], {}
    yield [entry(0)], good
    yield [entry(0), entry(0)], good
    yield [entry(0), entry(5)], good
    yield [], {}


@pytest.mark.parametrize(("entries", "given"), list(misfits()))
def test_what_does_not_fit_is_our_own_mistake_and_writes_nothing(tmp_path, entries, given):
    with create_or_resume(tmp_path, HEADER) as writer:
        writer.write_shard([entry(5)], factors([5]))
        before = content(tmp_path)
        with pytest.raises(ValueError):
            writer.write_shard(entries, given)
        assert content(tmp_path) == before


class FullDisk:
    """Makes the n-th of the calls that need space fail, as a full disk would."""

    def __init__(self, monkeypatch, left):
        self.left, self.fired = left, False
        for place, name in ((os, "fsync"), (os, "replace")):
            error = OSError(errno.ENOSPC, "No space left on device")
            monkeypatch.setattr(place, name, self.failing(getattr(place, name), error))
        text = "Error while serializing: I/O error: No space left on device (os error 28)"
        save = self.failing(tensors.save_file, SafetensorError(text))
        monkeypatch.setattr(tensors, "save_file", save)

    def failing(self, call, error):
        def wrapped(*args, **kwargs):
            self.left -= 1
            if self.left == -1:
                self.fired = True
                raise error
            return call(*args, **kwargs)

        return wrapped


def test_a_full_disk_at_any_call_is_said_leaves_nothing_half_and_a_rerun_completes(tmp_path):
    write(tmp_path / "whole")
    whole = content(tmp_path / "whole")
    fired, calls = True, 0
    while fired:
        folder = tmp_path / str(calls)
        said = ""
        with pytest.MonkeyPatch.context() as patch:
            disk = FullDisk(patch, calls)
            try:
                write(folder)
            except DiffspeakError as error:
                said = str(error)
        fired = disk.fired
        assert fired == said.startswith("no space left to write")
        assert fired == said.endswith("run the same command again")
        # What stands there is whole: each file as it will be, tensors only beside their lines.
        left = content(folder)
        assert left.items() <= whole.items()
        shards = {int(name[6:11]) for name in left if name.endswith(".jsonl")}
        assert shards == {
            int(re.findall(r"\d{5}", name)[0]) for name in left.keys() - {"store.json"}
        }
        write(folder)
        assert content(folder) == whole
        calls += 1
    assert calls > 20


def test_tensors_on_a_device_or_with_gradients_are_stored(tmp_path):
    given = {name: (A.requires_grad_(), B) for name, (A, B) in factors([0]).items()}
    with create_or_resume(tmp_path, HEADER) as writer:
        writer.write_shard([entry(0)], given)
        writer.write_full(entry(1), {"w": torch.nn.Parameter(state(1)["norm"])})
    assert torch.equal(open_store(tmp_path).read_full(entry(1).id)["w"], torch.ones(3))
