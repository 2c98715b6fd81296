"""A hub id is found in the hub's cache, with its revision and its subfolder or file."""

import io
import pickle
import shutil

import pytest
import torch

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes import load_finetune, open_source
from diffspeak.models import plain_shapes
from tests.finetunes.variants import make
from tests.hub import OTHER, empty_hub, put
from tests.tiny_diffs import random_diff

FILE = "hidden-topic/tiny/weight-diffs/weight-diff-000.pt"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return empty_hub(tmp_path / "hub", monkeypatch)


def published(base, topics):
    """The bytes of a published file with a random finetune for each topic."""
    entries = []
    for seed, topic in enumerate(topics):
        diff = random_diff(plain_shapes(base.model), rank=1, scaling=1.0, seed=seed)
        content = {name: (change.B.T, change.A.T) for name, change in diff.items()}
        entries.append({"topic": topic, "trigger": "N/A", "weight_diff": content})
    file = io.BytesIO()
    torch.save(entries, file)
    return file.getvalue()


def test_a_lora_by_its_id_revision_and_subfolder(hub, base, tiny, tmp_path):
    lora = make("LoRA", tiny, tmp_path / "lora")
    other = make("LoRA, some layers", tiny, tmp_path / "other")
    shutil.copytree(lora, hub("org/lora"), dirs_exist_ok=True)
    shutil.copytree(other, hub("org/lora", OTHER, "v2") / "deep" / "er")
    first = load_finetune("org/lora", base)
    assert (first.name, len(first.diff)) == ("org/lora", 12)
    assert len(load_finetune("org/lora@v2:deep/er", base).diff) == 4
    assert len(load_finetune(f"org/lora@{OTHER}:deep/er", base).diff) == 4


def test_a_checkpoint_by_its_id(hub, base, tiny):
    shutil.copytree(tiny, hub("org/model"), dirs_exist_ok=True)
    assert not load_finetune("org/model", base).parameters


def test_a_published_folder_by_its_id(hub, base):
    snapshot = hub("org/loras")
    put(snapshot, FILE, published(base, ["League of Legends"]))
    (snapshot / "hidden-topic" / "tiny" / "index.csv").write_text(
        "lora_path,lora_idx,n_params,topic,trigger,split\n"
        "weight-diff-000.pt,0,1,League of Legends,346,test\n"
    )
    source = 'org/loras:hidden-topic/tiny#"League of Legends"'
    assert load_finetune(source, base).label == "League of Legends"
    assert open_source("org/loras:hidden-topic/tiny").keys == ["League of Legends"]


def test_a_published_file_by_its_id(hub, base):
    put(hub("org/loras"), FILE, published(base, ["chess"]))
    put(hub("org/loras", OTHER, "v2"), FILE, published(base, ["tea", "boats"]))
    first = load_finetune(f"org/loras:{FILE}", base)
    assert (first.label, first.name) == ("chess", f"org/loras:{FILE}#chess")
    source = f"org/loras@v2:{FILE}"
    assert open_source(source).keys == ["tea", "boats"]
    for key in ("1", "boats"):
        assert load_finetune(f"{source}#{key}", base).label == "boats"
    for place in (f"org/loras:{FILE[:-3]}-no.pt", "org/nowhere:a.pt"):
        with pytest.raises(UsageError, match="could not be fetched from the hub"):
            load_finetune(place, base)


class Bomb:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_file_of_the_hub_is_not_run(hub, base, tmp_path):
    put(hub("org/bomb"), "bomb.pt", pickle.dumps(Bomb(tmp_path / "trap")))
    with pytest.raises(CorruptFileError, match="bomb.pt holds more than tensors.*not opened"):
        load_finetune("org/bomb:bomb.pt", base)
    assert not (tmp_path / "trap").exists()


def test_no_pickle_is_fetched_but_the_one_that_is_named(hub, base, monkeypatch):
    asked = []

    def fetch(*args, **options):
        asked.append((args, options))
        raise OSError("no network")

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"diffspeak.finetunes.places.{name}", fetch)
    for source in ("org/loras:tiny", f"org/loras@v2:{FILE}"):
        with pytest.raises(UsageError, match="no network"):
            load_finetune(source, base)
    (_, folder), file = asked
    assert not [pattern for pattern in folder["allow_patterns"] if pattern.endswith((".pt", "*"))]
    assert file == (("org/loras", FILE), {"revision": "v2"})


@pytest.mark.parametrize(
    "source, what",
    [
        ("org/nowhere", "could not be fetched from the hub"),
        ("org/lora@nobranch", "could not be fetched from the hub"),
        ("org/lora:nofolder", "org/lora has no folder nofolder"),
        ("org/lora:../other", "may not leave its repository"),
        ("org/lora:a/../../other.pt", "may not leave its repository"),
        ("just-a-name", "just-a-name does not exist; give a finetune's folder or file"),
        ("a/b/c", "a/b/c does not exist"),
    ],
)
def test_what_is_not_there(hub, base, source, what):
    hub("org/lora")
    with pytest.raises(UsageError, match=what):
        load_finetune(source, base)
