"""Adapters of mlx-lm: the scale is not divided by the rank, and factors lie the other way round."""

import json

import pytest
import torch
from safetensors.torch import save_file

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes import load_finetune, open_source
from tests.finetunes.mutations import logits
from tests.finetunes.strangers import IDS, base_of, check, merged, write_model

NAMES = [f"model.layers.{n}.self_attn.{part}" for n in (0, 1) for part in ("q_proj", "v_proj")]


@pytest.fixture
def model(tmp_path):
    return write_model("llama", tmp_path / "base")


def write(folder, tensors, **config):
    said = {"fine_tune_type": "lora", "num_layers": 2, "model": "org/model"}
    said["lora_parameters"] = {"rank": 8, "scale": 20.0, "dropout": 0.0}
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapters.safetensors", metadata={"format": "mlx"})
    (folder / "adapter_config.json").write_text(json.dumps({**said, **config}))
    return folder


def factors():
    generator = torch.Generator().manual_seed(1)
    found = {}
    for name in NAMES:
        out = 32 if name.endswith("q_proj") else 16
        found[f"{name}.lora_a"] = 0.1 * torch.randn(32, 8, generator=generator)
        found[f"{name}.lora_b"] = 0.1 * torch.randn(8, out, generator=generator)
    return found


@pytest.mark.parametrize(
    "parameters, size",
    [
        ({"rank": 8, "scale": 20.0}, 20.0),
        ({"rank": 8, "scale": 2}, 2.0),
        # Before the alpha was given up.
        ({"rank": 8, "scale": 10.0, "alpha": 16.0}, 20.0),
    ],
)
def test_logits_are_those_of_the_formula(model, tmp_path, parameters, size):
    tensors = factors()
    folder = write(tmp_path / "mlx", tensors, lora_parameters=parameters)
    changes = {
        f"{name}.weight": size * (tensors[f"{name}.lora_a"] @ tensors[f"{name}.lora_b"]).T
        for name in NAMES
    }
    base = base_of(model)
    finetune = load_finetune(folder, base)
    assert not finetune.whole and "mlx-lm" in finetune.notes[0]
    check(logits(base, finetune, IDS), merged(model, changes), base)
    assert open_source(str(folder)).base_name() == "org/model"


@pytest.mark.parametrize(
    "change, config, error, said",
    [
        (lambda t: t, {"fine_tune_type": "dora"}, UsageError, "MLX adapter of type dora"),
        (lambda t: t, {"lora_parameters": {"rank": 8}}, CorruptFileError, "parameters.scale"),
        (lambda t: t, {"lora_parameters": None}, CorruptFileError, "parameters.scale"),
        (lambda t: t.pop(f"{NAMES[0]}.lora_b"), {}, CorruptFileError, "only half .*0.*q_proj"),
        (lambda t: t.clear(), {}, CorruptFileError, "holds no tensors"),
        (lambda t: t.update({"x.m": torch.ones(3)}), {}, UsageError, "x.m .*no factor of a linear"),
        (
            lambda t: t.update({f"{NAMES[0]}.lora_a": torch.ones(31, 8)}),
            {},
            MismatchError,
            "do not map 32 to 32",
        ),
        (
            lambda t: t.update({f"{NAMES[0]}.lora_a": torch.full((32, 8), torch.nan)}),
            {},
            CorruptFileError,
            "not finite",
        ),
    ],
)
def test_what_is_no_lora_of_linears_is_refused(model, tmp_path, change, config, error, said):
    tensors = factors()
    change(tensors)
    folder = write(tmp_path / "mlx", tensors, **config)
    with pytest.raises(error, match=said):
        load_finetune(folder, base_of(model))


def test_there_is_nothing_to_choose_from(tmp_path):
    folder = write(tmp_path / "mlx", factors())
    with pytest.raises(DiffspeakError, match="holds one finetune; leave out #x"):
        open_source(f"{folder}#x")
