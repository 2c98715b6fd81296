"""What is no finetune is named for what it is, with where one may be."""

import shutil

import pytest
import torch

from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.finetunes import is_peft, load_finetune, open_source
from diffspeak.finetunes.formats import MOST, finetunes_within, holds_tensors
from tests.finetunes.variants import make


@pytest.fixture(scope="module")
def lora(tiny, tmp_path_factory):
    return make("LoRA", tiny, tmp_path_factory.mktemp("lora") / "lora")


@pytest.mark.parametrize(
    "layout, named",
    [
        (("checkpoint-500", "checkpoint-1000"), r"outputs/checkpoint-1000, .*/checkpoint-500$"),
        (("checkpoint-500/adapter_model",), r"outputs/checkpoint-500/adapter_model$"),
        (("policy", "reference"), r"outputs/policy, .*outputs/reference$"),
        (("a", "b", "c", "d"), r"outputs/a, .*/b, .*/c \(4 in all\)$"),
    ],
)
def test_the_folder_above(lora, tmp_path, layout, named):
    folder = tmp_path / "outputs"
    for name in layout:
        shutil.copytree(lora, folder / name)
    (folder / "runs").mkdir()
    torch.save({}, folder / "optimizer.pt")
    with pytest.raises(
        UsageError, match=f"holds no finetune itself, but folders in it do: .*{named}"
    ):
        open_source(str(folder))
    assert finetunes_within(folder) == sorted(layout, key=lambda one: (one.count("/"), one))


def test_weights_without_a_config(tmp_path):
    (tmp_path / "adapter.safetensors").touch()
    (tmp_path / "readme.txt").touch()
    with pytest.raises(UsageError, match="it holds adapter.safetensors, but no config beside"):
        open_source(str(tmp_path))
    assert holds_tensors(tmp_path)


def test_a_trainers_own_state_is_no_finetune(tmp_path):
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin", "events.out.tfevents.1"):
        (tmp_path / name).touch()
    assert not holds_tensors(tmp_path) and not is_peft(tmp_path)


def test_a_folder_of_many_others_is_looked_through_in_part(tmp_path):
    for n in range(MOST + 50):
        (tmp_path / f"{n:04d}").mkdir()
    (tmp_path / "9999").symlink_to(tmp_path)
    assert finetunes_within(tmp_path) == []


def test_torchtunes_adapter_is_named(base, tmp_path):
    keys = [f"layers.0.attn.q_proj.lora_{side}.weight" for side in "ab"]
    torch.save({key: torch.randn(4, 4) for key in keys}, tmp_path / "adapter_0.pt")
    with pytest.raises(UsageError, match="adapter of torchtune.*adapter_model.safetensors"):
        load_finetune(tmp_path / "adapter_0.pt", base)


def test_pefts_tensors_alone_are_named(base, tmp_path):
    keys = [f"base_model.model.model.layers.0.mlp.up_proj.lora_{side}.weight" for side in "AB"]
    torch.save({key: torch.randn(4, 4) for key in keys}, tmp_path / "lora.pt")
    with pytest.raises(UsageError, match="without its adapter_config.json"):
        load_finetune(tmp_path / "lora.pt", base)


def test_another_architecture_is_said_only_where_it_is_one(base, lora, tmp_path, family_folder):
    from tests.finetunes.variants import rewrite
    from tests.toys import toy_base

    said = "made from another architecture; give the base it was made from"
    with pytest.raises(DiffspeakError, match=said):
        load_finetune(lora, toy_base(family_folder("gpt2")))
    folder = shutil.copytree(lora, tmp_path / "lora")

    def deeper(tensors):
        for name in [name for name in tensors if "layers.2.mlp" in name]:
            tensors[name.replace("layers.2", "layers.7")] = tensors.pop(name)

    rewrite(folder, deeper)
    with pytest.raises(DiffspeakError, match=r"\(2 of its 12 names are unknown there\)") as raised:
        load_finetune(folder, base)
    assert "another architecture" not in str(raised.value)
