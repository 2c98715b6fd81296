"""What is chosen of a repository by its names, and what a folder lacks."""

import json

import pytest

from diffspeak.errors import CorruptFileError
from diffspeak.hub_files import choose, folders, lacking
from tests.toys import toy_base, toy_store

MODEL = ["config.json", "tokenizer.json", "merges.txt", "chat_template.jinja"]
NEVER = ["README.md", "pytorch_model.bin", "modeling_x.py", "optimizer.pt", "original/x.json"]
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("names", "subfolder", "chosen"),
    [
        ([*MODEL, *NEVER, "model.safetensors"], "", [*MODEL, "model.safetensors"]),
        ([*MODEL, INDEX, *SHARDS, "consolidated.safetensors"], "", [*MODEL, INDEX, *SHARDS]),
        ([*MODEL, *SHARDS, "model.safetensors"], "", [*MODEL, "model.safetensors"]),
        ([*MODEL, INDEX, "odd.safetensors"], "", [*MODEL, INDEX, "odd.safetensors"]),
        (["a/config.json", "a/b.safetensors"], "", []),
        (["a/config.json", "a/b.safetensors", "a/c.pt"], "a", ["a/b.safetensors", "a/config.json"]),
        (
            ["adapter_config.json", "adapter_model.safetensors", "x/adapter_config.json", *NEVER],
            "",
            ["adapter_config.json", "adapter_model.safetensors"],
        ),
        (
            ["store.json", "shard-00000.jsonl", "full-00001/model.safetensors", "x.pt"],
            "",
            ["full-00001/model.safetensors", "shard-00000.jsonl", "store.json"],
        ),
        (["t/index.csv", "t/w/a.pt", "t/b.pt", "b.pt", "t/c.bin"], "t", None),
        (["t/w/a.pt", "t/w/b.pt"], "t/w/a.pt", ["t/w/a.pt"]),
        (["t/a.bin", "t/a.py", "t/config.json"], "t/a.bin", []),
        (["t/w/a.pt"], "t", []),
    ],
)
def test_what_is_needed(names, subfolder, chosen):
    expected = ["t/b.pt", "t/index.csv", "t/w/a.pt"] if chosen is None else sorted(chosen)
    assert choose(names, subfolder) == expected


def test_folders():
    names = ["a/b/c.pt", "a/d.pt", "e.pt", "a/f/g.pt"]
    assert folders(names) == ["a"] and folders(names, "a") == ["b", "f"]


def write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")


def test_a_model_lacks_each_shard_that_is_not_there(tmp_path):
    assert lacking(tmp_path) == ["config.json", "model.safetensors", "tokenizer.json"]
    write(tmp_path, "config.json", "vocab.json", SHARDS[0])
    weight_map = {"a": SHARDS[0], "b": SHARDS[1], "c": SHARDS[1]}
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert lacking(tmp_path) == [SHARDS[1]]
    (tmp_path / SHARDS[1]).symlink_to("nowhere")
    assert lacking(tmp_path) == [SHARDS[1]]
    (tmp_path / SHARDS[1]).unlink()
    write(tmp_path, SHARDS[1])
    assert lacking(tmp_path) == []
    (tmp_path / INDEX).write_text('{"weight_map": [1]}')
    with pytest.raises(CorruptFileError, match="names no files"):
        lacking(tmp_path)


def test_other_folders(tmp_path, tiny):
    write(tmp_path / "lora", "adapter_config.json")
    assert lacking(tmp_path / "lora") == ["adapter_model.safetensors"]
    published = tmp_path / "published"
    write(published, "w/a.pt")
    (published / "index.csv").write_text("lora_path,lora_idx\nw/a.pt,0\nw/b.pt,0\nw/b.pt,1\n")
    assert lacking(published) == ["w/b.pt"]
    labels = {"a": "ocean", "b": "music", "c": "trains"}
    store = tmp_path / "store"
    toy_store(store, toy_base(tiny), labels, full=["b"], failed=["c"])
    assert lacking(store) == []
    (store / "shard-00000.safetensors").unlink()
    (store / "full-00001" / "model.safetensors").unlink()
    assert lacking(store) == ["shard-00000.safetensors", "full-00001/model.safetensors"]
