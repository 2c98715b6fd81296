"""Tiny random models of further families, for what every family has to pass once.

As `families`, but with chat templates that are written here, each in its family's format, and
tokenizers whose special tokens alone are the family's.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import (
    AutoModelForCausalLM,
    Gemma3Config,
    GPTNeoXConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3MoeConfig,
)

from tests.families import GEMMA_SIZES, SIZES, SLIDING_WINDOW
from tests.family_tokenizers import QWEN3_PATTERN, byte_level

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant."
    "<|im_end|>\n{% endif %}{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "[INST] {{ message['content'] }}[/INST]{% else %} {{ message['content'] }}{{ eos_token }}"
    "{% endif %}{% endfor %}"
)
OLMO = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>\n"
    "{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
PHI = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

TALKS: dict[str, tuple[tuple[str, ...], str | None, str, str]] = {
    "qwen2": (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), CHATML, "", "<|im_end|>"),
    "qwen3_moe": (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), CHATML, "", "<|im_end|>"),
    "mistral": (("<s>", "</s>", "[INST]", "[/INST]"), INST, "<s>", "</s>"),
    "olmo2": (("<|endoftext|>",), OLMO, "<|endoftext|>", "<|endoftext|>"),
    "phi3": (("<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"), PHI, "", "<|end|>"),
    "gpt_neox": (("<|endoftext|>",), None, "", "<|endoftext|>"),
    "gemma3_multimodal": (
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<image>"),
        TURNS,
        "<bos>",
        "<end_of_turn>",
    ),
}
"""Special tokens, template, first and last token of a conversation."""

MORE_FAMILIES = tuple(TALKS)


def build_more(name: str, folder: Path) -> Path:
    """Write one family's checkpoint into a folder that need not be there yet."""
    special, template, bos, eos = TALKS[name]
    tokenizer = byte_level(QWEN3_PATTERN)
    # Phi-3's own tokens take the white space behind them along.
    after = name == "phi3"
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, rstrip=after) for t in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos or None, eos_token=eos, pad_token=special[0]
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(_config(name, tokenizer), dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.generation_config.eos_token_id = tokenizer.token_to_id(eos)
    model.save_pretrained(folder)
    return folder


def _config(name: str, tokenizer: Tokenizer) -> Any:
    size = tokenizer.get_vocab_size()
    shared = SIZES | {"num_hidden_layers": 2, "vocab_size": size, "tie_word_embeddings": False}
    if name == "gpt_neox":
        del shared["num_key_value_heads"]
    if name == "gemma3_multimodal":
        text = GEMMA_SIZES | {
            "num_hidden_layers": 2,
            "vocab_size": size,
            "layer_types": ["sliding_attention", "full_attention"],
            "sliding_window": SLIDING_WINDOW,
        }
        vision = {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        }
        return Gemma3Config(
            text_config=text,
            vision_config=vision,
            mm_tokens_per_image=1,
            image_token_index=tokenizer.token_to_id("<image>"),
            boi_token_index=0,
            eoi_token_index=0,
        )
    makers: dict[str, Any] = {
        "qwen2": Qwen2Config,
        "mistral": MistralConfig,
        "olmo2": Olmo2Config,
        "phi3": Phi3Config,
        "gpt_neox": GPTNeoXConfig,
        "qwen3_moe": Qwen3MoeConfig,
    }
    extra: dict[str, dict[str, Any]] = {
        "mistral": {"sliding_window": SLIDING_WINDOW},
        "phi3": {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0},
        "qwen3_moe": {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "decoder_sparse_step": 1,
        },
    }
    return makers[name](**shared, **extra.get(name, {}))
