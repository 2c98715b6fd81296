"""Reading a store: lazily, verified, local and remote."""

import fsspec
import pytest
import torch

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.store import create_or_resume, open_store, reader
from tests.store.killed import write
from tests.store.samples import HEADER, SCALING, content, entry, factors, state

STORED = (0, 2, 3, 4)


@pytest.fixture
def folder(tmp_path):
    """Shard 0 with finetunes 0, 1 (failed) and 2; full finetune 9; shard 2 with 3 and 4."""
    write(tmp_path / "store")
    return tmp_path / "store"


def same(found, number):
    expected = factors([number])
    assert found.keys() == expected.keys()
    return all(
        torch.equal(found[name].A, A[0]) and torch.equal(found[name].B, B[0])
        for name, (A, B) in expected.items()
    )


def test_each_finetune_comes_back(folder):
    store = open_store(folder)
    assert len(store) == 6
    assert [e.id for e in store.entries] == [entry(n).id for n in (0, 1, 2, 9, 3, 4)]
    for number in STORED:
        assert store.find(entry(number).id).label == entry(number).label
        found = store.read(entry(number).id)
        assert same(found, number)
        assert {change.scaling for change in found.values()} == {SCALING}


def test_lost_shards_are_told_and_the_others_are_read(folder, caplog):
    assert not caplog.text and len(open_store(folder)) == 6
    (folder / "shard-00000.jsonl").unlink()
    (folder / "shard-00001.jsonl").unlink()
    store = open_store(folder)
    assert [e.id for e in store.entries] == [entry(n).id for n in (3, 4)]
    assert same(store.read(entry(3).id), 3)
    assert "misses 2 of 3 shards (number 0, 1)" in caplog.text


def test_many_are_stacked_in_the_order_asked_for(folder):
    found = open_store(folder).read_many([entry(n).id for n in (4, 0, 3)])
    for name, (A, B) in factors([4, 0, 3]).items():
        assert torch.equal(found[name].A, A)
        assert torch.equal(found[name].B, B)


def test_a_full_finetune_comes_back_and_tied_weights_are_equal(folder):
    found = open_store(folder).read_full(entry(9).id)
    assert found.keys() == state(9).keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state(9).items())


@pytest.mark.parametrize(
    ("number", "method", "said"),
    [
        (1, "read", "loss is nan"),
        (1, "read_full", "loss is nan"),
        (9, "read", "read_full"),
        (0, "read_full", "read it with read"),
        (77, "read", "no finetune"),
        (77, "find", "diffspeak show"),
    ],
)
def test_asking_for_what_is_not_there_is_a_usage_error(folder, number, method, said):
    store = open_store(folder)
    with pytest.raises(UsageError, match=said):
        getattr(store, method)(entry(number).id)


def test_bfloat16_factors_come_back(tmp_path):
    header = HEADER.__class__(**{**HEADER.__dict__, "dtype": "bfloat16"})
    given = factors([0], torch.bfloat16)
    with create_or_resume(tmp_path, header) as writer:
        writer.write_shard([entry(0)], given)
    found = open_store(tmp_path).read(entry(0).id)
    assert all(torch.equal(found[name].B, B[0]) for name, (_, B) in given.items())


def noticed(folder, number):
    """Whether reading a finetune fails as it should, rather than giving what was stored."""
    store = open_store(folder)
    if number == 9:
        try:
            store.read_full(entry(9).id)
        except CorruptFileError:
            return True
        return False
    try:
        assert same(store.read(entry(number).id), number)
    except CorruptFileError:
        return True
    return False


def test_every_changed_byte_of_a_shard_is_noticed_by_the_finetunes_it_matters_to(folder):
    path = folder / "shard-00002.safetensors"
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    alone = {3: 0, 4: 0}
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        wrong = {number for number in (3, 4) if noticed(folder, number)}
        if place < header:
            assert wrong == {3, 4}
        else:
            (number,) = wrong
            alone[number] += 1
    assert alone[3] == alone[4] == (len(whole) - header) / 2


def test_every_changed_byte_of_a_full_finetune_is_noticed(folder):
    path = folder / "full-00001" / "model.safetensors"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert noticed(folder, 9)


@pytest.mark.parametrize("number", [3, 9])
def test_truncated_lengthened_or_missing_tensors_are_noticed(folder, number):
    name = "full-00001/model.safetensors" if number == 9 else "shard-00002.safetensors"
    path = folder / name
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert noticed(folder, number)
    path.write_bytes(whole + b"\0")
    assert noticed(folder, number)
    path.unlink()
    assert noticed(folder, number)
    assert not noticed(folder, 0)


def test_the_error_names_the_file_the_finetune_and_the_cure(folder):
    for name, number, cure in (
        ("shard-00002.safetensors", 4, "delete shard-00002.jsonl and shard-00002.safetensors"),
        ("full-00001/model.safetensors", 9, "delete shard-00001.jsonl and full-00001"),
    ):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        store = open_store(folder)
        with pytest.raises(CorruptFileError) as caught:
            store.read_full(entry(9).id) if number == 9 else store.read(entry(4).id)
        message = str(caught.value)
        assert name in message
        assert repr(entry(number).id) in message
        assert cure in message
        assert "run the same command again" in message
        assert "\n" not in message


def test_another_shards_tensors_are_noticed(folder):
    (folder / "shard-00002.safetensors").write_bytes(
        (folder / "shard-00000.safetensors").read_bytes()
    )
    assert noticed(folder, 3)


def test_a_finetune_in_two_shards_is_corrupt(folder, tmp_path):
    with create_or_resume(tmp_path / "other", HEADER) as writer:
        for number in (7, 8, 5, 4):
            writer.write_shard([entry(number)], factors([number]))
    for kind in ("jsonl", "safetensors"):
        name = f"shard-00003.{kind}"
        (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(CorruptFileError, match=r"shard-00003\.jsonl.*in shard-00002\.jsonl"):
        open_store(folder)


def test_opening_reads_no_tensors_and_a_shard_is_opened_once(folder, monkeypatch):
    opened = []
    real = reader.ShardTensors
    monkeypatch.setattr(reader, "ShardTensors", lambda path: opened.append(path.name) or real(path))
    monkeypatch.setattr(reader, "_OPEN_SHARDS", 1)
    store = open_store(folder)
    assert opened == []
    for number in (0, 2, 0, 3, 4, 0):
        assert same(store.read(entry(number).id), number)
    names = ["shard-00000.safetensors", "shard-00002.safetensors", "shard-00000.safetensors"]
    assert opened == names


@pytest.fixture
def remote(folder):
    """The same store in fsspec's memory file system."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    for name, data in content(folder).items():
        system.pipe(f"/models/store/{name}", data)
    yield system
    system.store.clear()


def test_a_remote_store_is_read_file_by_file(remote, tmp_path):
    cache = tmp_path / "cache"
    store = open_store("memory://models/store/", cache)
    assert not list(cache.rglob("*.safetensors"))
    assert same(store.read(entry(3).id), 3)
    assert not list(cache.rglob("shard-00000.safetensors"))
    assert store.read_full(entry(9).id).keys() == state(9).keys()
    assert [e.id for e in store.entries] == [entry(n).id for n in (0, 1, 2, 9, 3, 4)]


def test_a_file_url_is_read(folder, tmp_path):
    store = open_store(f"file://{folder}", tmp_path / "cache")
    assert same(store.read(entry(0).id), 0)


def test_a_remote_store_that_is_damaged_or_missing_says_so(remote, tmp_path):
    good = remote.cat("/models/store/shard-00002.safetensors")
    remote.pipe("/models/store/shard-00002.safetensors", good[:-1] + b"\x7f")
    store = open_store("memory://models/store", tmp_path)
    with pytest.raises(CorruptFileError, match=r"memory://models/store/shard-00002.*local copy"):
        store.read(entry(4).id)
    remote.pipe("/models/store/shard-00002.safetensors", good)
    assert same(open_store("memory://models/store", tmp_path).read(entry(4).id), 4)
    with pytest.raises(UsageError, match="not a diffspeak store"):
        open_store("memory://models", tmp_path)
    with pytest.raises(UsageError, match="memory://nowhere"):
        open_store("memory://nowhere", tmp_path)


def test_a_damaged_local_copy_can_be_fetched_again(remote, tmp_path):
    cache = tmp_path / "cache"
    open_store("memory://models/store", cache).read(entry(4).id)
    (copy,) = cache.glob("*[!s]/shard-00002.safetensors")
    copy.write_bytes(copy.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CorruptFileError, match=str(copy)):
        open_store("memory://models/store", cache).read(entry(4).id)
    copy.unlink()
    assert same(open_store("memory://models/store", cache).read(entry(4).id), 4)
