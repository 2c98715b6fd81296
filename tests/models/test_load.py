"""Bases load from a folder or fail with one line that says why; every choice is recorded."""

import json
import logging
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffspeak.errors import UsageError
from diffspeak.models import load_base
from tests.families import FAMILIES


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A base of one's own, to break."""
    return shutil.copytree(tiny, tmp_path / "base")


def reason(source, **options) -> str:
    with pytest.raises(UsageError) as error:
        load_base(source, **({"dtype": "float32"} | options))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_is_frozen_and_ready(family_folder, family):
    base = load_base(str(family_folder(family)), dtype="float32", device="cpu")
    assert base.name == str(family_folder(family))
    assert not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert (base.device, base.dtype) == (torch.device("cpu"), torch.float32)
    assert not [name for name in base.model.state_dict() if ".base." in name]


def test_its_repr_is_one_line_without_a_tensor(tiny):
    base = load_base(tiny, dtype="bfloat16", device="cpu")
    assert repr(base) == f"Base({str(tiny)!r}, {base.fingerprint}, bfloat16 on cpu)"


@pytest.mark.parametrize("family", FAMILIES)
def test_choices_are_recorded_and_logged(family_folder, family, caplog):
    with caplog.at_level(logging.INFO, "diffspeak"):
        base = load_base(family_folder(family), dtype="bfloat16", attention="eager")
    assert base.choices == {
        "device": "cpu",
        "dtype": "bfloat16",
        "attention": "eager",
        "threads": torch.get_num_threads(),
    }
    assert str(base.choices) in caplog.text
    json.dumps(base.choices)


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_sdpa_where_the_family_has_it(family_folder, family):
    # Gemma 2 caps its attention scores, which SDPA cannot do.
    expected = "eager" if family == "gemma2" else "sdpa"
    base = load_base(family_folder(family), dtype="float32")
    assert base.choices["attention"] == expected


def test_attention_implementations_agree(tiny):
    ids = torch.arange(20, 40)[None]
    logits = [
        load_base(tiny, dtype="float32", attention=attention).model(ids).logits
        for attention in ("sdpa", "eager")
    ]
    torch.testing.assert_close(*logits)


def test_auto_chooses_one_of_two_dtypes(tiny):
    assert load_base(tiny).choices["dtype"] in ("float32", "bfloat16")


@pytest.mark.parametrize("source", ["no-such-base", "nobody/no-such-base", "./no/such/folder"])
def test_an_unknown_base_is_refused_quickly(source):
    began = time.perf_counter()
    message = reason(source)
    assert time.perf_counter() - began < 5
    assert message.startswith(f"base {source} was not found")
    assert "offline" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype int8 is unknown; use auto, float32, bfloat16"),
        ({"device": "gpu"}, "there is no device gpu here"),
        ({"device": "cuda:99"}, "there is no device cuda:99 here"),
        ({"attention": "sideways"}, "sideways"),
    ],
)
def test_an_unknown_choice_is_refused_by_name(tiny, options, message):
    assert message in reason(tiny, **options)


def test_a_folder_without_a_model_is_refused(tmp_path):
    message = reason(tmp_path)
    assert message.startswith(f"{tmp_path} is no model that transformers can load")


def test_a_base_in_pickle_alone_is_refused(folder):
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    assert "no file named model.safetensors" in reason(folder)


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def drop_a_weight(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    del state["model.layers.1.mlp.up_proj.weight"]
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def change(file: str, **values) -> object:
    def edit(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | values))

    return edit


def cut_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def drop_tokenizer(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, "is no model that transformers can load: Error while deserializing header"),
        (drop_a_weight, "lacks 1 of the model's weights, model.layers.1.mlp.up_proj.weight"),
        (change("config.json", intermediate_size=64), "is no model that transformers can load"),
        (change("config.json", model_type="gpt99"), "has model type `gpt99`"),
        (cut_config, "is not a valid JSON file"),
        (drop_tokenizer, "has no tokenizer"),
        (change("tokenizer.json", model={"type": "Odd"}), "did not match any variant"),
    ],
)
def test_a_spoiled_base_is_refused(folder, spoil, message):
    """Never loaded with random weights or an empty vocabulary in place of what is missing."""
    spoil(folder)
    found = reason(folder)
    assert found.startswith(str(folder))
    assert message in found


def test_where_answers_stop_may_stand_in_the_generation_config(folder):
    config = folder / "generation_config.json"
    for ends, extra in ([420, 7], {420, 7}), (9, {9}), (None, set()):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": ends}))
        assert load_base(folder, dtype="float32").chat.stop_ids == {422} | extra
