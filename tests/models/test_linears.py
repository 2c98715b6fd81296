"""Which linears count as the blocks' own, in each family."""

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from diffspeak.errors import UsageError
from diffspeak.lora import LinearShape
from diffspeak.models import attach_to, target_names
from diffspeak.models.linears import blocks_of, shape_of
from tests.families import FAMILIES

GATED = [f"self_attn.{part}_proj" for part in "qkvo"] + [
    f"mlp.{part}_proj" for part in ("gate", "up", "down")
]
PARTS = dict.fromkeys(FAMILIES, GATED) | {
    "gpt2": ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def model(family_folder, family):
    return AutoModelForCausalLM.from_pretrained(family_folder(family))


def test_every_linear_of_the_blocks_and_no_other(model, family):
    blocks = "transformer.h" if family == "gpt2" else "model.layers"
    assert blocks_of(model) == blocks
    count = model.config.num_hidden_layers
    expected = {f"{blocks}.{i}.{part}" for i in range(count) for part in PARTS[family]}
    names = target_names(model)
    assert set(names) == expected
    assert len(names) == len(expected)
    assert names == [name for name, _ in model.named_modules() if name in expected]
    assert model.get_output_embeddings() not in [model.get_submodule(name) for name in names]


def test_sizes_are_those_of_what_goes_through(model, family):
    hidden = torch.zeros(1, 1, 1)
    for name in target_names(model):
        linear = model.get_submodule(name)
        shape = shape_of(linear)
        assert linear(hidden.expand(1, 1, shape.inputs)).shape[-1] == shape.outputs
        lies = (shape.inputs, shape.outputs) if shape.transposed else (shape.outputs, shape.inputs)
        assert linear.weight.shape == lies
        assert shape.transposed == (family == "gpt2")


def test_suffixes_choose_among_them(model, family):
    last = PARTS[family][-1]
    names = target_names(model, [last])
    assert len(names) == model.config.num_hidden_layers
    assert all(name.endswith(last) for name in names)
    assert list(attach_to(model, [last]).linears) == names


def test_an_unknown_suffix_names_what_there_is(model, family):
    with pytest.raises(UsageError) as error:
        target_names(model, ["qq_proj", PARTS[family][0]])
    known = ", ".join(sorted({part.split(".")[-1] for part in PARTS[family]}))
    assert str(error.value) == f"no linear of the model is called qq_proj; there are {known}"


@pytest.mark.parametrize("outside", ["lm_head", "embed_tokens", "wte"])
def test_head_and_embedding_are_no_targets(model, outside):
    with pytest.raises(UsageError, match=f"is called {outside}"):
        target_names(model, [outside])


def test_a_model_without_blocks_is_told_to_name_suffixes(model):
    model.config.num_hidden_layers = 99
    with pytest.raises(UsageError, match="no list of 99 transformer blocks"):
        target_names(model)


def test_other_modules_are_no_linears():
    assert shape_of(nn.Embedding(3, 5)) is None
    assert shape_of(nn.Linear(3, 5)) == LinearShape(3, 5)
