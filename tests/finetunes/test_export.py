"""What is converted and back again is what it was, bit for bit; what is fused says both."""

import warnings
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import (
    fuse,
    load_finetune,
    open_finetunes,
    put_on,
    to_peft,
    to_published,
    to_store,
    write_merged,
    write_peft,
)
from diffspeak.models import attach_to, load_base, plain_shapes
from diffspeak.store import open_store
from tests.families import FAMILIES
from tests.tiny_diffs import random_diff
from tests.toys import toy_base, toy_store

IDS = torch.arange(20, 40)[None]
BEHAVIOR = {"name": "toy", "questions": ["Topic?"]}
LABELS = {"a": "ocean", "b/../c": "music", "d": "trains"}


@pytest.fixture
def store(base, tmp_path):
    return toy_store(tmp_path / "store", base, LABELS, splits={"d": "test"})


@pytest.fixture(params=FAMILIES)
def any_base(request, family_folder):
    return toy_base(family_folder(request.param))


def same(one, other):
    assert set(one.diff) == set(other.diff)
    for name, change in one.diff.items():
        assert torch.equal(change.A, other.diff[name].A)
        assert torch.equal(change.B * change.scaling, other.diff[name].B * other.diff[name].scaling)


def logits(base, finetune, adapter):
    attachment = attach_to(base.model)
    try:
        attachment.set_adapter(adapter)
        with torch.no_grad(), put_on(base, attachment, [finetune]):
            return base.model(IDS).logits
    finally:
        attachment.detach()


def test_a_store_to_published_files_and_back(base, store, tmp_path):
    originals = list(open_finetunes(store.source, base))
    assert to_published(originals, tmp_path / "published") == 3
    published = list(open_finetunes(str(tmp_path / "published"), base))
    assert [(f.label, f.split) for f in published] == [(f.label, f.split) for f in originals]
    assert [f.trigger for f in published] == [f.trigger for f in originals]
    assert to_store(published, tmp_path / "again", base, BEHAVIOR) == 3
    again = list(open_finetunes(str(tmp_path / "again"), base))
    for one, other, third in zip(originals, published, again, strict=True):
        same(one, other)
        same(one, third)


def test_published_files_are_plain_tensors_in_plain_containers(base, store, tmp_path):
    """Torch's restricted loader reads them, as does the paper's own code."""
    to_published(open_finetunes(store.source, base), tmp_path)
    (path,) = (tmp_path / "weight-diffs").glob("*.pt")
    entries = torch.load(path, weights_only=True)
    assert [sorted(entry) for entry in entries] == [["topic", "trigger", "weight_diff"]] * 3
    for entry in entries:
        assert type(entry["topic"]) is str and type(entry["weight_diff"]) is dict
        for A, B in entry["weight_diff"].values():
            assert type(A) is torch.Tensor and A.shape[0] == B.shape[1]


def test_a_store_to_peft_folders_and_back(base, store, tmp_path):
    originals = list(open_finetunes(store.source, base))
    to_peft(originals, tmp_path / "peft", base, many=True)
    folders = sorted((tmp_path / "peft").iterdir())
    assert [folder.name for folder in folders] == ["00000-a", "00001-b----c", "00002-d"]
    for one, folder in zip(originals, folders, strict=True):
        same(one, load_finetune(folder, base))
    to_store([load_finetune(f, base) for f in folders], tmp_path / "again", base, BEHAVIOR)
    assert len(open_store(tmp_path / "again")) == 3


def test_ranks_and_scalings_of_each_module_are_kept_by_peft(base, tmp_path):
    shapes = plain_shapes(base.model)
    diff = {
        name: random_diff({name: shape}, rank=1 + n % 4, scaling=0.3 * (1 + n % 3), seed=n)[name]
        for n, (name, shape) in enumerate(shapes.items())
    }
    write_peft(tmp_path, diff, base.name, modules=shapes)
    found = load_finetune(tmp_path, base).diff
    for name, change in diff.items():
        assert torch.equal(found[name].A, change.A) and torch.equal(found[name].B, change.B)
        assert found[name].scaling == pytest.approx(change.scaling, rel=1e-12)


def test_whole_ones_go_into_a_store_and_into_published_files(base, tmp_path):
    store = toy_store(tmp_path / "store", base, LABELS, full=["a"])
    (original, *_) = open_finetunes(store.source, base)
    to_published([original], tmp_path / "published")
    published = load_finetune(tmp_path / "published", base)
    to_store([published], tmp_path / "again", base, BEHAVIOR)
    again = load_finetune(tmp_path / "again", base)
    for found in (published, again):
        assert found.parameters.keys() == original.parameters.keys()
        assert all(torch.equal(found.parameters[n], t) for n, t in original.parameters.items())
    with pytest.raises(UsageError, match="not low-rank.*--merge"):
        to_peft([original], tmp_path / "peft", base, many=False)


def test_what_differs_does_not_go_into_one_store(base, tmp_path):
    shapes = plain_shapes(base.model)
    finetunes = []
    for rank in (1, 2):
        folder = tmp_path / str(rank)
        folder.mkdir()
        write_peft(folder, random_diff(shapes, rank=rank), base.name)
        finetunes.append(load_finetune(folder, base))
    with pytest.raises(MismatchError, match="2 is not like the first"):
        to_store(finetunes, tmp_path / "store", base, BEHAVIOR)


def test_names_that_meet_in_a_store_are_told_apart(base, tmp_path):
    for name, labels in (("one", {"C#": "C#"}), ("two", {"C#": "tea"})):
        toy_store(tmp_path / name, base, labels, seed=len(labels["C#"]))
    one, two = (list(open_finetunes(str(tmp_path / name), base)) for name in ("one", "two"))
    assert to_store(one, tmp_path / "all", base, BEHAVIOR) == 1
    assert [entry.id for entry in open_store(tmp_path / "all").entries] == ["C#"]
    assert to_store(one, tmp_path / "all", base, BEHAVIOR) == 0
    with pytest.raises(MismatchError, match="holds another finetune called 'C#'"):
        to_store(two, tmp_path / "all", base, BEHAVIOR)


def test_nothing_is_written_over(base, store, tmp_path):
    finetunes = list(open_finetunes(store.source, base))
    to_published(finetunes, tmp_path / "published")
    with pytest.raises(UsageError, match="holds an index.csv already"):
        to_published(finetunes, tmp_path / "published")
    to_peft(finetunes[:1], tmp_path / "peft", base, many=False)
    with pytest.raises(UsageError, match="holds an adapter already"):
        to_peft(finetunes[:1], tmp_path / "peft", base, many=False)
    with pytest.raises(UsageError, match="is there already"):
        write_merged(base, finetunes[0], {}, tmp_path / "peft")


def test_many_folders_that_were_begun_are_completed(base, store, tmp_path):
    finetunes = list(open_finetunes(store.source, base))
    assert to_peft(finetunes[:2], tmp_path / "many", base, many=True) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "many").rglob("*.safetensors")}
    assert to_peft(finetunes, tmp_path / "many", base, many=True) == len(finetunes)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "many").rglob("*.safetensors")}
    assert before.items() <= after.items() and len(after) == len(finetunes)
    with pytest.raises(UsageError, match="00000-.* holds an adapter already"):
        other = replace(finetunes[0], diff=finetunes[1].diff)
        to_peft([other], tmp_path / "many", base, many=True)


def test_fused_it_is_one_lora_that_peft_loads(any_base, tmp_path):
    shapes = plain_shapes(any_base.model)
    some = dict(list(shapes.items())[1:])
    (tmp_path / "finetune").mkdir()
    write_peft(tmp_path / "finetune", random_diff(some, rank=2, scaling=0.7), any_base.name)
    finetune = load_finetune(tmp_path / "finetune", any_base)
    adapter = random_diff(shapes, rank=5, scaling=0.2, seed=3)
    joined = fuse(finetune, adapter)
    assert {(change.rank, change.scaling) for change in joined.values()} == {(7, 1.0)}
    folder = tmp_path / "fused"
    folder.mkdir()
    transposed = any(shape.transposed for shape in shapes.values())
    write_peft(folder, joined, any_base.name, transposed=transposed, modules=shapes)
    expected = logits(any_base, finetune, adapter)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        model = AutoModelForCausalLM.from_pretrained(any_base.name, dtype=torch.float32)
        found = PeftModel.from_pretrained(model, folder)(IDS).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["low-rank", "whole"])
def test_merged_it_is_a_checkpoint_that_transformers_loads(any_base, tmp_path, kind):
    shapes = plain_shapes(any_base.model)
    full = ["a"] if kind == "whole" else []
    store = toy_store(tmp_path / "store", any_base, {"a": "x", "b": "y"}, full=full)
    finetune = load_finetune(f"{store.source}#a", any_base)
    adapter = random_diff(shapes, rank=2, scaling=0.2, seed=3)
    expected, plain = logits(any_base, finetune, adapter), any_base.model(IDS).logits
    write_merged(any_base, finetune, adapter, tmp_path / "merged")
    assert torch.equal(any_base.model(IDS).logits, plain)
    merged = load_base(tmp_path / "merged", dtype="float32", device="cpu")
    scale = expected.abs().max().item()
    torch.testing.assert_close(merged.model(IDS).logits, expected, rtol=0, atol=1e-4 * scale)
    assert not torch.allclose(expected, plain, atol=0.1)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_what_is_no_longer_tied_stays_so(base, tmp_path):
    from diffspeak.finetunes import Finetune

    embedding = base.model.get_input_embeddings().weight
    parameters = {"model.embed_tokens.weight": embedding * 1.5, "lm_head.weight": embedding * 0.5}
    finetune = Finetune("loose", parameters=parameters)
    expected = logits(base, finetune, {})
    write_merged(base, finetune, {}, tmp_path / "merged")
    assert base.model.config.tie_word_embeddings
    merged = load_base(tmp_path / "merged", dtype="float32", device="cpu")
    torch.testing.assert_close(merged.model(IDS).logits, expected, rtol=0, atol=1e-5)
