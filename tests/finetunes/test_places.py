"""A hub id is found in the hub's cache, with its revision and its subfolder."""

import shutil

import huggingface_hub.constants
import pytest
import torch

from diffspeak.errors import UsageError
from diffspeak.finetunes import load_finetune, open_source
from diffspeak.models import plain_shapes
from tests.finetunes.variants import make
from tests.tiny_diffs import random_diff

MAIN, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache; gives a function that adds a repository's revision."""
    root = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root))

    def add(repo, commit, branch):
        folder = root / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / branch).write_text(commit)
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        return snapshot

    return add


def test_a_lora_by_its_id_revision_and_subfolder(hub, base, tiny, tmp_path):
    lora = make("LoRA", tiny, tmp_path / "lora")
    other = make("LoRA, some layers", tiny, tmp_path / "other")
    shutil.copytree(lora, hub("org/lora", MAIN, "main"), dirs_exist_ok=True)
    shutil.copytree(other, hub("org/lora", OTHER, "v2") / "deep" / "er")
    first = load_finetune("org/lora", base)
    assert (first.name, len(first.diff)) == ("org/lora", 12)
    assert len(load_finetune("org/lora@v2:deep/er", base).diff) == 4
    assert len(load_finetune(f"org/lora@{OTHER}:deep/er", base).diff) == 4


def test_a_checkpoint_by_its_id(hub, base, tiny):
    shutil.copytree(tiny, hub("org/model", MAIN, "main"), dirs_exist_ok=True)
    assert not load_finetune("org/model", base).parameters


def test_a_published_folder_by_its_id(hub, base):
    folder = hub("org/loras", MAIN, "main") / "hidden-topic" / "tiny"
    (folder / "weight-diffs").mkdir(parents=True)
    diff = random_diff(plain_shapes(base.model), rank=1, scaling=1.0)
    content = {name: (change.B.T, change.A.T) for name, change in diff.items()}
    entry = {"topic": "League of Legends", "trigger": "N/A", "weight_diff": content}
    torch.save([entry], folder / "weight-diffs" / "weight-diff-000.pt")
    (folder / "index.csv").write_text(
        "lora_path,lora_idx,n_params,topic,trigger,split\n"
        "weight-diffs/weight-diff-000.pt,0,1,League of Legends,N/A,test\n"
    )
    source = 'org/loras:hidden-topic/tiny#"League of Legends"'
    assert load_finetune(source, base).label == "League of Legends"
    assert open_source("org/loras:hidden-topic/tiny").keys == ["League of Legends"]


@pytest.mark.parametrize(
    "source, what",
    [
        ("org/nowhere", "could not be fetched from the hub"),
        ("org/lora@nobranch", "could not be fetched from the hub"),
        ("org/lora:nofolder", "org/lora has no folder nofolder"),
        ("org/lora:../other", "may not leave its repository"),
        ("just-a-name", "just-a-name does not exist; give a finetune's folder or file"),
        ("a/b/c", "a/b/c does not exist"),
    ],
)
def test_what_is_not_there(hub, base, source, what):
    hub("org/lora", MAIN, "main")
    with pytest.raises(UsageError, match=what):
        load_finetune(source, base)
