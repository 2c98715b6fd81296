"""Architectures without weights: the paper's models, cut and small ones, and what is not known."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from diffspeak.errors import UsageError
from diffspeak.models import (
    chat_of,
    config_of,
    load_base,
    skeleton,
    target_names,
    with_layers,
    write_small,
)
from diffspeak.text.messages import Message
from tests.families import FAMILIES, build_family
from tests.more_families import MORE_FAMILIES, build_more

PUBLISHED = {
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "google/gemma-3-1b-it": 999_885_952,
    "google/gemma-3-4b-it": 4_300_079_472,
}
"""Parameters of the paper's models, as their pages on the hub give them; tied ones once."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_models_have_their_published_sizes(name):
    model = skeleton(config_of(name), torch.bfloat16)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name]
    assert {p.device.type for p in model.parameters()} == {"meta"}
    layers = model.config.get_text_config(decoder=True).num_hidden_layers
    assert len(target_names(model)) == 7 * layers


@pytest.mark.parametrize("name", FAMILIES + MORE_FAMILIES)
def test_every_family_is_made_small_and_runs(name, tmp_path):
    build = build_family if name in FAMILIES else build_more
    config = AutoConfig.from_pretrained(build(name, tmp_path / "whole"))
    write_small(config, tmp_path / "small")
    base = load_base(tmp_path / "small", dtype="float32")
    assert type(base.model).__name__ == type(AutoModelForCausalLM.from_config(config)).__name__
    ids = torch.tensor([base.chat.prompt((Message("user", "Hi"),))])
    assert base.model(input_ids=ids).logits.isfinite().all()
    assert sum(p.numel() for p in base.model.parameters()) < 2_000_000


def test_a_small_model_is_the_same_at_every_call_and_stays(tmp_path):
    config = config_of("google/gemma-3-4b-it")
    for name in ("one", "two"):
        write_small(config, tmp_path / name)
    one, two = (tmp_path / name / "model.safetensors" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    one.write_bytes(b"mine")
    write_small(config, tmp_path / "one")
    assert one.read_bytes() == b"mine"


def test_cut_layers_keep_one_of_each_kind():
    whole = config_of("google/gemma-3-1b-it")
    cut = with_layers(whole, 2)
    assert (cut.num_hidden_layers, whole.num_hidden_layers) == (2, 26)
    assert set(cut.layer_types) == set(whole.layer_types) and len(cut.layer_types) == 2


def test_a_base_that_nobody_knows_is_refused(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="architecture of nobody/nothing is not known"):
        config_of("nobody/nothing")


def test_the_chat_of_a_base_is_there_only_if_its_tokenizer_is(tiny):
    rendered = chat_of(str(tiny))
    assert rendered is not None and rendered.stop_ids
    assert chat_of("Qwen/Qwen3-4B") is None
