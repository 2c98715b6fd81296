"""What is merged keeps what the finetune brought along, and takes no more room than it has to."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from diffspeak.errors import DiffspeakError
from diffspeak.finetunes import load_finetune, write_merged
from tests.finetunes.strangers import (
    IDS,
    base_of,
    by_peft,
    write_lora,
    write_model,
    write_tokenizer,
)

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"


@pytest.fixture(params=[False, True], ids=["untied", "tied"])
def model(request, tmp_path):
    """In bfloat16, as most are published."""
    whole = write_model("qwen3", tmp_path / "whole", tie_word_embeddings=request.param)
    half = AutoModelForCausalLM.from_pretrained(whole, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "base")
    write_tokenizer(tmp_path / "base")
    return tmp_path / "base"


def dtypes(folder):
    kinds = {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()}
    return kinds, json.loads((folder / "config.json").read_text())["dtype"]


def test_it_is_stored_as_its_base_is(model, tmp_path):
    folder = write_lora(model, tmp_path / "lora")
    base = base_of(model)
    out = tmp_path / "merged"
    found = write_merged(base, load_finetune(folder, base), {}, out)
    assert (found.dtype, found.brought) == ("bfloat16", ())
    assert dtypes(out) == ({torch.bfloat16}, "bfloat16")
    sizes = [(path / "model.safetensors").stat().st_size for path in (model, out)]
    assert abs(sizes[1] - sizes[0]) < 1000
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)(IDS).logits
    torch.testing.assert_close(logits, by_peft(folder, model), rtol=0.1, atol=0.1)


def test_float32_if_asked(model, tmp_path):
    folder = write_lora(model, tmp_path / "lora")
    base = base_of(model)
    write_merged(base, load_finetune(folder, base), {}, tmp_path / "merged", dtype=torch.float32)
    assert dtypes(tmp_path / "merged") == ({torch.float32}, "float32")
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(IDS).logits
    torch.testing.assert_close(logits, by_peft(folder, model), rtol=1e-4, atol=1e-4)


def test_a_whole_finetunes_own_dtype_is_kept(model, tmp_path):
    whole = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.no_grad():
        whole.model.layers[0].mlp.up_proj.weight.add_(0.01)
    whole.save_pretrained(tmp_path / "finetune")
    base = base_of(model)
    write_merged(base, load_finetune(tmp_path / "finetune", base), {}, tmp_path / "merged")
    assert dtypes(tmp_path / "merged")[1] == "float32"


def test_the_finetunes_tokenizer_template_and_generation_config(model, tmp_path):
    folder = write_lora(model, tmp_path / "lora")
    write_tokenizer(folder, TEMPLATE)
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 7]}')
    base = base_of(model)
    found = write_merged(base, load_finetune(folder, base), {}, tmp_path / "merged", brought=folder)
    assert found.brought[0] == "tokenizer" and "generation_config.json" in found.brought
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == TEMPLATE
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert merged.generation_config.eos_token_id == [1, 7]


@pytest.mark.parametrize("name", ["generation_config.json", "tokenizer.json"])
def test_what_was_brought_along_broken_is_refused(model, tmp_path, name):
    folder = write_lora(model, tmp_path / "lora")
    (folder / name).write_text("{")
    base = base_of(model)
    with pytest.raises(DiffspeakError):
        write_merged(base, load_finetune(folder, base), {}, tmp_path / "merged", brought=folder)
    assert not (tmp_path / "merged").exists()
