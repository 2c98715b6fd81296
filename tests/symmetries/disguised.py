"""Tiny random models in float64, finetuned a little, and how they answer.

Takes a family's name, gives states and logits. Knows nothing of pytest.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Generator, Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from diffspeak.symmetries import Outputs, outputs_unchanged

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
TIED = ("qwen3", "gemma", "gemma2", "gemma3_text", "gpt2")
FAMILIES = ("qwen3", "llama", "qwen2", "mistral", "gemma", "gemma2", "gemma3_text", "gpt2")


def config_for(family: str, **changes: Any) -> Any:
    """A small config of a family."""
    sizes: dict[str, Any] = dict(SIZES)
    if family == "gpt2":
        sizes = {"vocab_size": 97, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64}
    if family in ("gemma2", "gemma3_text"):
        sizes |= {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 8}
    tied = family in TIED
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    settings = sizes | ends | {"tie_word_embeddings": tied} | changes
    return AutoConfig.for_model(family, **settings)


def random_state(config: Any, seed: int = 0) -> dict[str, Tensor]:
    """Random parameters in float64: norms uneven, biases not zero; a tied head left out."""
    generator = Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    state = {}
    for name, tensor in model.named_parameters():
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        even = 1.0 if tensor.dim() == 1 and not name.endswith("bias") else 0.0
        state[name] = even + 0.2 * drawn
    return state


def finetuned(
    state: Mapping[str, Tensor], rank: int = 1, size: float = 0.03, seed: int = 1
) -> dict[str, Tensor]:
    """A random change of a rank added to each linear of the blocks, by the weight's norm."""
    generator = Generator().manual_seed(seed)
    changed = dict(state)
    for name, tensor in state.items():
        if tensor.dim() == 2 and ("proj" in name or "c_" in name):
            left = torch.randn(tensor.shape[0], rank, generator=generator, dtype=torch.float64)
            right = torch.randn(rank, tensor.shape[1], generator=generator, dtype=torch.float64)
            change = left @ right
            changed[name] = tensor + size * tensor.norm() * change / change.norm()
    return changed


def finetuned_everywhere(
    state: Mapping[str, Tensor], size: float = 0.01, seed: int = 1
) -> dict[str, Tensor]:
    """All parameters changed, matrices in few directions by much and in all by a little."""
    generator = Generator().manual_seed(seed)
    changed = {}
    for name, tensor in state.items():
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if tensor.dim() == 2:
            left, _, right = torch.linalg.svd(drawn, full_matrices=False)
            drawn = (left / torch.arange(1, 1 + left.shape[1])) @ right
        much = size if tensor.dim() == 2 else size / 5
        changed[name] = tensor.double() + much * tensor.double().norm() * drawn / drawn.norm()
    return changed


def model_of(config: Any, state: Mapping[str, Tensor]) -> Any:
    """The model with these parameters; its head tied where the state has none."""
    config = copy.deepcopy(config)
    config.tie_word_embeddings = "lm_head.weight" not in state
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64).eval()
    found = model.load_state_dict(dict(state), strict=False)
    assert not found.unexpected_keys
    model.tie_weights()
    return model


def logits(config: Any, state: Mapping[str, Tensor]) -> Tensor:
    """On two prompts, in float64 throughout: norms that ask for float32 get float64."""
    ids = torch.randint(0, 97, (2, 20), generator=Generator().manual_seed(3))
    doubled = patch.object(torch, "float32", torch.float64)
    with torch.no_grad(), doubled, patch.object(Tensor, "float", Tensor.double):
        answer: Tensor = model_of(config, state)(ids).logits
    return answer


def outputs_of(before: Any, after: Any, prompts: Sequence[Tensor]) -> Outputs:
    """Compare two models' logits on prompts, token ids `[token]` each."""
    with torch.no_grad():
        logits = [
            [model(ids[None]).logits.double() for ids in prompts] for model in (before, after)
        ]
    first = next(before.parameters())
    return outputs_unchanged(*logits, depth=before.config.num_hidden_layers, dtype=first.dtype)


def error(found: Mapping[str, Tensor], true: Mapping[str, Tensor], base: Mapping[str, Tensor]):
    """How far a recovered difference is from the true one, by the true one's norm."""
    away = sum((found[n].double() - true[n].double()).square().sum().item() for n in true)
    size = sum((true[n].double() - base[n].double()).square().sum().item() for n in true)
    return (away / size) ** 0.5
