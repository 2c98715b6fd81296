"""Factors of experts; a part of PEFT that is gone, or computes otherwise, says so here."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from diffspeak.finetunes.formats.peft_merge import converted, converts_experts, turned
from tests.finetunes.strangers import write_model


def test_which_models_have_experts_that_were_fused(tmp_path):
    found = {
        family: converts_experts(
            AutoModelForCausalLM.from_pretrained(write_model(family, tmp_path / family))
        )
        for family in ("llama", "qwen3_moe", "mixtral")
    }
    assert found == {"llama": False, "qwen3_moe": True, "mixtral": True}, (
        "transformers.conversion_mapping no longer tells which kinds were fused"
    )


@pytest.mark.filterwarnings("ignore:The following .* keys did not match:RuntimeWarning")
def test_factors_of_experts_become_those_of_the_fused_ones(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(write_model("mixtral", tmp_path / "m"))
    config = LoraConfig(r=2, target_modules=["w1", "w2", "w3"], task_type="CAUSAL_LM")
    peft = get_peft_model(model, config)
    tensors = {}
    for layer in range(2):
        for expert in range(4):
            for name, inner, outer in (("w1", 32, 40), ("w3", 32, 40), ("w2", 40, 32)):
                part = f"model.layers.{layer}.block_sparse_moe.experts.{expert}.{name}"
                tensors[f"base_model.model.{part}.lora_A.weight"] = torch.randn(2, inner)
                tensors[f"base_model.model.{part}.lora_B.weight"] = torch.randn(outer, 2)
    found = converted(peft, tensors)
    shapes = {key: tuple(tensor.shape) for key, tensor in found.items() if "layers.0" in key}
    part = "base_model.model.model.layers.0.mlp.experts"
    assert shapes == {
        f"{part}.base_layer.lora_A.weight": (4 * 4, 32),
        f"{part}.base_layer.lora_B.weight": (80, 4 * 4),
        f"{part}.lora_A.weight": (4 * 2, 40),
        f"{part}.lora_B.weight": (32, 4 * 2),
    }, "peft.utils.transformers_weight_conversion names or lays out fused experts otherwise"


def test_only_older_layouts_are_turned():
    key = "base_model.model.model.layers.0.mlp.experts.lora_{}.weight"
    tensors = {key.format("A"): torch.randn(12, 5), key.format("B"): torch.randn(7, 12)}
    experts = {"model.layers.0.mlp.experts": 4}
    for version in (None, "0.19.0", "0.21.2", "1.0", "unknown"):
        found = turned(tensors, experts, version)
        assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    found = turned(tensors, experts, "0.18.1")
    A, B = found[key.format("A")], found[key.format("B")]
    assert (tuple(A.shape), tuple(B.shape)) == ((12, 7), (5, 12))
    old = torch.einsum(
        "ore,eri->eio",
        tensors[key.format("B")].reshape(7, 3, 4),
        tensors[key.format("A")].reshape(4, 3, 5),
    )
    new = torch.einsum("ore,eri->eoi", B.reshape(5, 3, 4), A.reshape(4, 3, 7))
    torch.testing.assert_close(new, old)
    assert turned(tensors, {}, "0.18.1").keys() == tensors.keys()
