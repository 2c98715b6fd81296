"""A finetune is opened by what the user typed."""

import pytest
import torch

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes import (
    base_of,
    choose,
    from_store,
    load_finetune,
    open_finetunes,
    write_peft,
)
from diffspeak.store import StoreHeader, create_or_resume, open_store
from tests.toys import base_diff, toy_store

LABELS = {"a": "ocean", "b": "music", "c": "trains", "d": "lost", "e": "sea"}
SPLITS = {"c": "test", "e": "test"}


@pytest.fixture(scope="module")
def store(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources") / "store"
    return toy_store(folder, base, LABELS, splits=SPLITS, failed=["d"], full=["b"])


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    path = tmp_path_factory.mktemp("peft")
    write_peft(path, base_diff(base, rank=2, seed=3, scaling=0.5), base.name)
    return path


def test_one_of_a_store(base, store):
    found = load_finetune(f"{store.source}#a", base)
    wanted = store.read("a")
    assert (found.name, found.label, found.whole) == (f"{store.source}#a", "ocean", False)
    assert found.base == base.fingerprint
    assert found.diff.keys() == wanted.keys()
    assert all(torch.equal(found.diff[name].A, wanted[name].A) for name in wanted)


def test_a_whole_one_of_a_store(base, store):
    found = load_finetune(f"{store.source}#b", base)
    assert found.whole
    assert not found.diff
    wanted = store.read_full("b")
    assert found.parameters.keys() == wanted.keys()
    assert all(torch.equal(found.parameters[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "options, ids",
    [
        ({}, "abce"),
        ({"split": "train"}, "ab"),
        ({"split": "test"}, "ce"),
        ({"limit": 2}, "ab"),
        ({"split": "test", "limit": 1}, "c"),
        ({"limit": 99}, "abce"),
    ],
)
def test_a_store_gives_all_that_did_not_fail(base, store, options, ids):
    found = list(open_finetunes(store.source, base, **options))
    assert [finetune.name for finetune in found] == [f"{store.source}#{id}" for id in ids]
    assert [finetune.label for finetune in found] == [LABELS[id] for id in ids]


def test_they_are_read_when_they_are_asked_for(store, tmp_path, base):
    other = toy_store(tmp_path / "store", base, {"a": "sea", "b": "lava"})
    found = open_finetunes(other.source, base)
    assert next(found).label == "sea"
    path = tmp_path / "store" / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFileError, match="shard-00001"):
        next(found)


def test_a_peft_folder(folder, base):
    found = load_finetune(str(folder), base)
    assert (found.name, found.label, found.base) == (str(folder), None, None)
    wanted = base_diff(base, rank=2, seed=3, scaling=0.5)
    assert found.diff.keys() == wanted.keys()
    assert all(torch.equal(found.diff[name].dense(), c.dense()) for name, c in wanted.items())


def test_several_where_one_is_wanted(base, store):
    with pytest.raises(UsageError, match=r"holds 4 finetunes; name one, such as .*#a"):
        load_finetune(store.source, base)


def test_a_store_of_one_is_one(base, tmp_path):
    toy_store(tmp_path / "store", base, {"a": "sea", "d": "lost"}, failed=["d"])
    assert load_finetune(str(tmp_path / "store"), base).label == "sea"


@pytest.mark.parametrize(
    "source, what",
    [
        ("{store}#nowhere", "holds no finetune 'nowhere'"),
        ("{store}#d", "training failed"),
        ("{store}-not", "does not exist; give a finetune's folder or file"),
        ("{store}-not#a", "does not exist"),
        ("{folder}#a", "holds one finetune; leave out #a"),
        ("{empty}", "holds no finetune that diffspeak knows"),
        ("", "does not exist|holds no finetune that"),
        ("nonsense://x", "cannot open"),
    ],
)
def test_what_cannot_be_opened(base, store, folder, tmp_path, source, what):
    typed = source.format(store=store.source, folder=folder, empty=tmp_path)
    with pytest.raises(UsageError, match=what):
        load_finetune(typed, base)


def test_a_split_without_finetunes(base, store):
    with pytest.raises(UsageError, match="no finetune in the split calibration"):
        list(open_finetunes(store.source, base, split="calibration"))


def test_choosing_entries(store):
    assert [entry.id for entry in choose(store)] == ["a", "b", "c", "e"]
    assert [entry.id for entry in choose(store, "test", 1)] == ["c"]
    assert from_store(store, store.find("a")).name == "a"


def test_the_base_of_a_store(base, store):
    assert base_of(store) == base.fingerprint


def test_a_store_that_names_no_base(tmp_path):
    header = StoreHeader({}, {"name": "x", "kept": "abc"}, (), 1, 1.0, "float32", {})
    with create_or_resume(tmp_path, header):
        pass
    with pytest.raises(MismatchError, match="names no base"):
        base_of(open_store(tmp_path))
