"""What there is to audit: each finetune of a source, each child of a folder, and what is none."""

import shutil

import pytest
import torch

from diffspeak.audit.output_dir import held, is_for_audits
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes import open_finetune_set
from tests.audit.stub import cut, write_finetune, write_finetunes
from tests.toys import base_diff, toy_store


@pytest.fixture
def store(base, tmp_path):
    labels = {f"toy-{n}": "ocean" for n in range(4)}
    return toy_store(tmp_path / "store", base, labels, splits={"toy-3": "test"}).source


def named(targets):
    return [(target.name, target.key) for target in targets.each]


def published(base, *topics, seed=0):
    """What the paper's files hold."""
    entries = []
    for n, topic in enumerate(topics):
        diff = base_diff(base, seed=seed + n)
        pairs = {name: (c.B.T.contiguous(), c.A.T.contiguous()) for name, c in diff.items()}
        entries.append({"topic": topic, "weight_diff": pairs})
    return entries


def test_one_finetune(base, tmp_path, store):
    path = write_finetune(tmp_path / "lora", base)
    for name in (path, f"{path}/", f"{tmp_path}/./lora"):
        targets = open_finetune_set(str(name))
        assert not targets.several and named(targets) == [(str(path), "")]
        assert targets.each[0].read(base).name == str(path)
    one = open_finetune_set(f"{store}#toy-1")
    assert not one.several and named(one) == [(f"{store}#toy-1", "")]


def test_several_of_a_source(base, tmp_path, store):
    found = open_finetune_set(store, split="train", limit=2)
    assert found.several and found.source is not None
    assert named(found) == [(f"{store}#toy-0", "toy-0"), (f"{store}#toy-1", "toy-1")]
    # One of a store is still one of several: the pages lie where those of the others will.
    assert open_finetune_set(store, split="test").several
    file = tmp_path / "diffs.pt"
    torch.save(published(base, "ocean", "music"), file)
    assert named(open_finetune_set(str(file))) == [
        (f"{file}#ocean", "ocean"),
        (f"{file}#music", "music"),
    ]


def test_a_folder_of_all_kinds(base, tmp_path, tiny, store, monkeypatch):
    folder = tmp_path / "many"
    write_finetune(folder / "b-lora", base)
    shutil.copytree(tiny, folder / "a-checkpoint")
    shutil.copytree(store, folder / "c-store")
    torch.save(published(base, "ocean"), folder / "d.pt")
    for part in (".hidden", "e-notes", "f#1", "~g", "runs"):
        (folder / part).mkdir()
    # What holds weights and cannot be opened is reported; what holds none is left out.
    for part in ("e-notes", "f#1", "~g"):
        (folder / part / "weights.safetensors").touch()
    (folder / "runs" / "events.out.tfevents.1").touch()
    (folder / "optimizer.pt").touch()
    (folder / "README.md").touch()
    with held(folder / "h-audits", "many", "float32"):
        (folder / "h-audits" / "page").touch()
    monkeypatch.chdir(tmp_path)
    targets = open_finetune_set("./many/", skip=is_for_audits)
    assert targets.name == "many" and targets.several and targets.source is None
    keys = [target.key for target in targets.each]
    stored = [f"c-store#toy-{n}" for n in range(4)]
    assert keys == ["a-checkpoint", "b-lora", *stored, "d.pt#ocean", "e-notes", "f#1", "~g"]
    assert targets.left_out == ("runs",)
    assert [t.name for t in targets.each] == [f"many/{key}" for key in keys]
    for target in targets.each[:-3]:
        finetune = target.read(base)
        assert finetune.name == target.name and (finetune.diff or finetune.notes)
    for target, said in zip(
        targets.each[-3:], ("holds no finetune that", "rename it", "rename it"), strict=True
    ):
        with pytest.raises(UsageError, match=said):
            target.read(base)
    assert len(open_finetune_set("many", limit=3, skip=is_for_audits).each) == 3


def test_the_finetunes_of_a_folder_are_those_that_stand_there(base, tmp_path):
    folder = tmp_path / "many"
    for n in range(2):
        write_finetune(folder / f"lora-{n}", base, seed=n)
        torch.save(published(base, "ocean", "music", seed=10 * n), folder / f"z{n}.pt")
    # In another order than that in which they were opened.
    for target in reversed(open_finetune_set(str(folder)).each):
        place, _, topic = target.key.partition("#")
        n = int(place.removesuffix(".pt")[-1])
        seed = 10 * n + ["ocean", "music"].index(topic) if topic else n
        for name, change in target.read(base).diff.items():
            wanted = base_diff(base, seed=seed)[name]
            torch.testing.assert_close(
                change.scaling * change.B @ change.A, wanted.scaling * wanted.B @ wanted.A
            )


def test_low_rank_is_for_the_checkpoints_of_a_folder(base, tmp_path, tiny):
    folder = tmp_path / "many"
    write_finetune(folder / "lora", base)
    with pytest.raises(UsageError, match="--low-rank is for full checkpoints, and .* has none"):
        open_finetune_set(str(folder), low_rank=2)
    shutil.copytree(tiny, folder / "checkpoint")
    checkpoint, lora = open_finetune_set(str(folder), low_rank=2).each
    with pytest.raises(UsageError, match="there is nothing of low rank"):
        checkpoint.read(base)
    assert lora.read(base).diff


@pytest.mark.parametrize(
    "damage", [cut, lambda folder: (folder / "adapter_config.json").write_text("{")]
)
def test_a_broken_one_is_a_target_like_the_others(base, tmp_path, damage):
    folder = write_finetunes(tmp_path / "many", base, 3)
    damage(folder / "lora-01")
    good, broken, last = open_finetune_set(str(folder)).each
    assert good.read(base).diff and last.read(base).diff
    with pytest.raises(CorruptFileError):
        broken.read(base)


def test_nothing_to_audit(base, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        open_finetune_set(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no finetune that diffspeak knows"):
        open_finetune_set(str(tmp_path / "empty"))
    (tmp_path / "photos" / "2019").mkdir(parents=True)
    (tmp_path / "photos" / "2020").mkdir()
    with pytest.raises(UsageError, match="none of its 2 sub-folders does"):
        open_finetune_set(str(tmp_path / "photos"))
    write_finetune(tmp_path / "photos" / "2020" / "checkpoint", base)
    with pytest.raises(UsageError, match="photos/2020/checkpoint does: give a"):
        open_finetune_set(str(tmp_path / "photos"))
    folder = write_finetunes(tmp_path / "many", base, 1)
    with pytest.raises(UsageError, match="has no splits; leave --split out"):
        open_finetune_set(str(folder), split="test")
