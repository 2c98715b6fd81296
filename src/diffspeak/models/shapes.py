"""The architecture of a base whose weights need not be here, and a small random model of it.

Takes a hub id or folder, gives a transformers config: from the folder, from what the hub's cache
holds, from the shapes of the paper's models that stand here, or from the hub. Loads no weights.
"""

import copy
import re
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma3Config,
    Gemma3TextConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from diffspeak.errors import UsageError
from diffspeak.io.files import new_folder
from diffspeak.models.chat import Chat
from diffspeak.models.pocket import NAME as POCKET
from diffspeak.models.pocket import base_folder

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "max_position_embeddings": 2048,
    "head_dim": 16,
    "query_pre_attn_scalar": 16,
    "sliding_window": 32,
    "initializer_range": 0.1,
    "num_experts": 4,
    "num_local_experts": 4,
    "moe_intermediate_size": 48,
    # Of a vision tower that stands beside the text model.
    "image_size": 28,
    "patch_size": 14,
}
"""Sizes of a small model; a family that has no such size has none of it."""

HEADS = 4
"""Attention heads of a small model, at most."""


def _qwen3(width: int, inner: int, layers: int, heads: int, *, tied: bool) -> PreTrainedConfig:
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        tie_word_embeddings=tied,
    )


def _gemma3_4b() -> PreTrainedConfig:
    text = {
        "vocab_size": 262208,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 1024,
    }
    vision = {
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 896,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return Gemma3Config(text_config=text, vision_config=vision)


def _known(name: str) -> PreTrainedConfig | None:
    """The shape of a model of arXiv 2510.05092, from its published config."""
    if name == "google/gemma-3-1b-it":
        return Gemma3TextConfig(
            vocab_size=262144,
            hidden_size=1152,
            intermediate_size=6912,
            num_hidden_layers=26,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=256,
            query_pre_attn_scalar=256,
            sliding_window=512,
            max_position_embeddings=32768,
        )
    if name == "google/gemma-3-4b-it":
        return _gemma3_4b()
    qwen3 = {
        "Qwen/Qwen3-1.7B": (2048, 6144, 28, 16, True),
        "Qwen/Qwen3-4B": (2560, 9728, 36, 32, True),
        "Qwen/Qwen3-8B": (4096, 12288, 36, 32, False),
    }
    if name not in qwen3:
        return None
    *sizes, tied = qwen3[name]
    return _qwen3(*sizes, tied=bool(tied))


def config_of(source: str, revision: str | None = None) -> PreTrainedConfig:
    """Find out a base's architecture.

    Args:
        source: Hub id or folder, or `pocket`.
        revision: Of a hub repository.

    Raises:
        UsageError: It is not here, and cannot be fetched.
    """
    if source == POCKET:
        source = str(base_folder())
    here = _is_here(source, "config.json", revision)
    if not here and (known := _known(source)) is not None:
        return known
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            source, revision=revision or "main", trust_remote_code=False, local_files_only=here
        )
    except Exception as error:
        # transformers raises what it chooses for a broken or a missing config.
        reason = " ".join(str(error).split())[:300]
        raise UsageError(
            f"the architecture of {source} is not known: neither here nor on the hub is a config "
            f"of it ({reason}); check the name"
        ) from error
    return config


def _is_here(source: str, name: str, revision: str | None) -> bool:
    """Whether a file of a base is in its folder, or in the hub's cache."""
    if Path(source).is_dir():
        return True
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source, re.ASCII):
        return False
    return isinstance(try_to_load_from_cache(source, name, revision=revision), str)


def skeleton(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """A model of a shape whose tensors have no content and take no memory."""
    config = _plain(config)
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.requires_grad_(False).eval()
    return model


def _plain(config: PreTrainedConfig) -> PreTrainedConfig:
    """A copy that says nothing of a quantization: what is made of it is not quantized."""
    copied = copy.deepcopy(config)
    if hasattr(copied, "quantization_config"):
        del copied.quantization_config
    return copied


def _vocabulary() -> int:
    return len(AutoTokenizer.from_pretrained(base_folder()))


def with_layers(config: PreTrainedConfig, layers: int) -> PreTrainedConfig:
    """The same architecture with so many of its first layers."""
    cut = copy.deepcopy(config)
    _cut_layers(cut.get_text_config(decoder=True), layers)
    return cut


def chat_of(source: str, revision: str | None = None) -> Chat | None:
    """The chat of a base whose tokenizer is on this machine; None of any other."""
    source = str(base_folder()) if source == POCKET else source
    if not _is_here(source, "tokenizer_config.json", revision):
        return None
    try:
        return Chat(
            AutoTokenizer.from_pretrained(
                source, revision=revision or "main", trust_remote_code=False, local_files_only=True
            )
        )
    except Exception as error:
        # transformers and tokenizers raise what they choose for a broken file.
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"{source} has no tokenizer that can be read: {reason}") from error


def write_small(config: PreTrainedConfig, folder: Path) -> None:
    """Write a small random model of an architecture; see `write_random`."""
    write_random(small_config(config), folder)


def write_random(config: PreTrainedConfig, folder: Path) -> None:
    """Write a random model with the pocket base's tokenizer, the same at every call.

    A folder that is there is left as it is.
    """
    if folder.exists():
        return
    tokenizer = AutoTokenizer.from_pretrained(base_folder())
    config = _plain(config)
    text = config.get_text_config(decoder=True)
    text.vocab_size = len(tokenizer)
    for name in ("eos_token_id", "pad_token_id", "bos_token_id"):
        setattr(text, name, None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model.generation_config = GenerationConfig(**ids)
    with new_folder(folder) as draft:
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)


def small_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """The same architecture, small, with the pocket base's vocabulary."""
    small = _plain(config)
    small.get_text_config(decoder=True).vocab_size = _vocabulary()
    parts = {id(part): part for part in (small, small.get_text_config(decoder=True))}
    vision = getattr(small, "vision_config", None)
    for part in (*parts.values(), *([vision] if vision is not None else [])):
        _shrink(part)
    if vision is not None:
        small.mm_tokens_per_image = 1
    return small


def _shrink(config: PreTrainedConfig) -> None:
    for name, size in SMALL.items():
        if isinstance(getattr(config, name, None), int) and name != "num_hidden_layers":
            setattr(config, name, min(size, getattr(config, name)))
    heads = getattr(config, "num_attention_heads", None)
    if isinstance(heads, int):
        config.num_attention_heads = min(HEADS, heads)
        shared = getattr(config, "num_key_value_heads", None)
        if isinstance(shared, int):
            config.num_key_value_heads = max(1, config.num_attention_heads * shared // heads)
    if isinstance(getattr(config, "num_hidden_layers", None), int):
        _cut_layers(config, min(SMALL["num_hidden_layers"], config.num_hidden_layers))


def _cut_layers(config: PreTrainedConfig, layers: int) -> None:
    """Keep so many layers: of each kind one, if the family has several."""
    kinds = getattr(config, "layer_types", None)
    config.num_hidden_layers = layers
    if isinstance(kinds, list):
        first = list(dict.fromkeys(kinds))
        config.layer_types = sorted((first + kinds)[:layers], key=first.index)
