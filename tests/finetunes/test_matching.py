"""Finetunes that added tokens: named, and opened on a base whose vocabulary grew by them."""

import shutil
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from diffspeak.errors import MismatchError, UsageError
from diffspeak.finetunes import load_finetune
from diffspeak.models import check_base, load_base
from tests.finetunes.mutations import logits
from tests.finetunes.strangers import IDS, TOKENS, base_of, write_model, write_tokenizer

ADDED = ["<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"


@pytest.fixture
def model(tmp_path):
    return write_model("llama", tmp_path / "base")


@torch.no_grad()
def grown(model, rows):
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    plain.resize_token_embeddings(rows, mean_resizing=False)
    return plain


@torch.no_grad()
def write_grown_lora(model, folder, rows=TOKENS + 2):
    """A LoRA that was trained after tokens were added; gives its logits."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = get_peft_model(grown(model, rows), config).eval()
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter) * parameter.requires_grad)
        # Some of the embedding was trained too.
        made.get_input_embeddings().weight.add_(0.1)
        expected = made(IDS).logits
        made.save_pretrained(folder, save_embedding_layers=True)
    write_tokenizer(folder, TEMPLATE, ADDED)
    return expected


def test_added_tokens_are_named_with_what_to_do(model, tmp_path):
    write_grown_lora(model, tmp_path / "lora")
    said = rf"adds 2 tokens to the {TOKENS} of .*\(<\|im_start\|>, <\|im_end\|>\): .*--tokenizer"
    with pytest.raises(MismatchError, match=said):
        load_finetune(tmp_path / "lora", base_of(model))


@pytest.mark.parametrize("whole", [False, True])
def test_they_are_opened_on_a_base_that_grew(model, tmp_path, whole):
    folder = tmp_path / "finetune"
    if whole:
        made = grown(model, TOKENS + 2)
        with torch.no_grad():
            made.model.layers[0].mlp.up_proj.weight.add_(0.1)
            expected = made(IDS).logits
        made.save_pretrained(folder)
        write_tokenizer(folder, TEMPLATE, ADDED)
    else:
        expected = write_grown_lora(model, folder)
    plain = base_of(model)
    base = load_base(model, dtype="float32", device="cpu", tokenizer=folder)
    assert base.tokenizer.convert_tokens_to_ids(ADDED) == [TOKENS, TOKENS + 1]
    assert base.tokenizer.chat_template == TEMPLATE
    found = logits(base, load_finetune(folder, base), IDS)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    # It is the same base still, and answers as it did.
    check_base(base.fingerprint, plain.fingerprint, "an adapter")
    with torch.no_grad():
        rows = base.model(IDS).logits[..., :TOKENS]
        torch.testing.assert_close(rows, plain.model(IDS).logits, rtol=1e-4, atol=1e-4)


def test_a_grown_base_is_the_same_each_time(model, tmp_path):
    write_tokenizer(tmp_path / "with", TEMPLATE, ADDED)
    found = [
        load_base(model, dtype="float32", device="cpu", tokenizer=tmp_path / "with").model.lm_head
        for _ in range(2)
    ]
    assert torch.equal(found[0].weight, found[1].weight)


def test_rows_that_no_token_reaches_are_left_out(model, tmp_path):
    folder = tmp_path / "lora"
    expected = write_grown_lora(model, folder, rows=TOKENS + 16)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, folder / name)
    base = base_of(model)
    found = logits(base, load_finetune(folder, base), IDS)
    torch.testing.assert_close(found, expected[..., :TOKENS], rtol=1e-4, atol=1e-4)


def test_a_tokenizer_that_is_none(model, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="has no tokenizer that can be loaded"):
        load_base(model, device="cpu", tokenizer=tmp_path / "none")
