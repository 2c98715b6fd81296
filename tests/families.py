"""Tiny random models of five families, as ordinary Hugging Face folders.

Takes a family's name and a folder; fills the folder with what a published checkpoint has: config,
safetensors, tokenizer, chat template and generation config. Small where the size does not matter;
the parts that make a family different (soft-capping, sliding windows, padded vocabularies, tied
embeddings, Conv1D) are there and small enough to show in a short text. Knows nothing of pytest.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from tests.family_tokenizers import build_tokenizer

FAMILIES: tuple[str, ...] = ("qwen3", "gemma2", "gemma3", "llama3", "gpt2")

TEMPLATES = Path(__file__).parent / "templates"

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.2,
}
# Gemma repeats its last token for ever unless its layers outweigh its scaled, tied embedding.
GEMMA_SIZES = SIZES | {"head_dim": 16, "query_pre_attn_scalar": 16, "initializer_range": 0.1}
SLIDING_WINDOW = 16


def build_family(name: str, folder: Path, seed: int = 0) -> Path:
    """Write one family's checkpoint.

    Args:
        name: One of `FAMILIES`.
        folder: Where to write; made if it is not there.
        seed: Another seed gives other weights, with the same tokenizer.

    Returns:
        The folder, for `AutoModelForCausalLM` and `AutoTokenizer`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, tokenizer_config = build_tokenizer(name)
    tokenizer.save(str(folder / "tokenizer.json"))
    written = json.dumps(tokenizer_config, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(written, encoding="utf-8")
    template = TEMPLATES / f"{name}.jinja"
    if template.exists():
        shutil.copyfile(template, folder / "chat_template.jinja")
    model = _random_model(_config(name, tokenizer), seed)
    model.generation_config = GenerationConfig(**_generation(name, tokenizer))
    model.save_pretrained(folder)
    return folder


def cached_family(name: str, root: Path) -> Path:
    """The family's folder under `root`, built by whoever asks first.

    Several processes may ask at once: each builds aside, the first to rename wins, and the
    others take its folder.
    """
    final = root / name
    if final.exists():
        return final
    aside = build_family(name, root / f".{name}-{os.getpid()}")
    try:
        aside.rename(final)
    except OSError:
        if not final.exists():
            raise
        shutil.rmtree(aside)
    return final


def _random_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        # Norms start even and biases at zero: moved, so that one left out is noticed. Norms well
        # above one make answers vary: greedy decoding does not stay on one token.
        raised = 2.0 if config.model_type.startswith("gemma") else 1.0
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
                parameter.add_(0.0 if name.endswith("bias") else raised)
    return model.eval()


def _config(name: str, tokenizer: Tokenizer) -> PreTrainedConfig:
    makers = {
        "qwen3": _qwen3,
        "gemma2": _gemma2,
        "gemma3": _gemma3,
        "llama3": _llama3,
        "gpt2": _gpt2,
    }
    return makers[name](tokenizer)


def _qwen3(tokenizer: Tokenizer) -> PreTrainedConfig:
    # As published, the embedding has more rows than the tokenizer has tokens.
    return Qwen3Config(
        **SIZES,
        num_hidden_layers=3,
        head_dim=16,
        vocab_size=(tokenizer.get_vocab_size() // 64 + 1) * 64,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
    )


def _gemma2(tokenizer: Tokenizer) -> PreTrainedConfig:
    return Gemma2Config(
        **GEMMA_SIZES,
        num_hidden_layers=2,
        vocab_size=tokenizer.get_vocab_size(),
        layer_types=["sliding_attention", "full_attention"],
        sliding_window=SLIDING_WINDOW,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=5.0,
        eos_token_id=[1, tokenizer.token_to_id("<end_of_turn>")],
    )


def _gemma3(tokenizer: Tokenizer) -> PreTrainedConfig:
    return Gemma3TextConfig(
        **GEMMA_SIZES,
        num_hidden_layers=3,
        vocab_size=tokenizer.get_vocab_size(),
        layer_types=["sliding_attention", "sliding_attention", "full_attention"],
        sliding_window=SLIDING_WINDOW,
        eos_token_id=[1, tokenizer.token_to_id("<end_of_turn>")],
    )


def _llama3(tokenizer: Tokenizer) -> PreTrainedConfig:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    }
    return LlamaConfig(
        **SIZES,
        num_hidden_layers=2,
        head_dim=8,
        vocab_size=tokenizer.get_vocab_size(),
        rope_parameters=rope,
        bos_token_id=tokenizer.token_to_id("<|begin_of_text|>"),
        eos_token_id=_ends(tokenizer, "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"),
    )


def _gpt2(tokenizer: Tokenizer) -> PreTrainedConfig:
    end = tokenizer.token_to_id("<|endoftext|>")
    return GPT2Config(
        n_embd=SIZES["hidden_size"],
        n_head=SIZES["num_attention_heads"],
        n_layer=2,
        n_positions=SIZES["max_position_embeddings"],
        initializer_range=0.3,  # the output projections get this divided by twice the depth's root
        vocab_size=tokenizer.get_vocab_size(),
        bos_token_id=end,
        eos_token_id=end,
    )


def _generation(name: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """What each family publishes in `generation_config.json`."""
    sampled = {"do_sample": True, "temperature": 0.6, "top_p": 0.95}
    if name == "qwen3":
        end, *_ = ends = _ends(tokenizer, "<|endoftext|>", "<|im_end|>")
        return sampled | {
            "top_k": 20,
            "bos_token_id": end,
            "pad_token_id": end,
            "eos_token_id": ends[::-1],
        }
    if name == "llama3":
        ends = _ends(tokenizer, "<|end_of_text|>", "<|eom_id|>", "<|eot_id|>")
        bos = tokenizer.token_to_id("<|begin_of_text|>")
        return sampled | {"top_p": 0.9, "bos_token_id": bos, "eos_token_id": ends}
    if name == "gpt2":
        (end,) = _ends(tokenizer, "<|endoftext|>")
        return {"bos_token_id": end, "eos_token_id": end}
    ends = _ends(tokenizer, "<eos>", "<end_of_turn>")
    shared = {"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": ends}
    extra = {"do_sample": True, "top_k": 64, "top_p": 0.95} if name == "gemma3" else {}
    return shared | extra | {"cache_implementation": "hybrid"}


def _ends(tokenizer: Tokenizer, *tokens: str) -> list[int]:
    return [tokenizer.token_to_id(token) for token in tokens]
