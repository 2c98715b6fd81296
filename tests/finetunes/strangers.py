"""Small models and adapters as strangers' tools leave them, for tests of what is opened.

Takes a family of transformers and a folder, fills it. Tokenizers know words alone: what counts
here are shapes and files.
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from diffspeak.finetunes import load_finetune
from diffspeak.models import Base, load_base
from tests.finetunes.mutations import logits

TOKENS = 80
IDS = torch.arange(20, 44).view(2, 12)
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TEMPLATE = "{% for m in messages %}{{ m['content'] }} <end> {% endfor %}"

SIZES: dict[str, Any] = {
    "vocab_size": TOKENS,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 1),
}
EXPERTS: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"head_dim": 8},
    "qwen3_moe": {**EXPERTS, "head_dim": 8, "decoder_sparse_step": 1, "mlp_only_layers": []},
    "qwen2_moe": {**EXPERTS, "decoder_sparse_step": 1, "shared_expert_intermediate_size": 24},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "opt": {"ffn_dim": 40, "word_embed_proj_dim": 32, "do_layer_norm_before": True},
    "jamba": {
        "num_experts": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "use_mamba_kernels": False,
        "mamba_d_state": 8,
    },
}


@torch.no_grad()
def write_model(family: str, folder: Path, **sizes: Any) -> Path:
    """A random model of a family with a tokenizer."""
    config = AutoConfig.for_model(family, **{**SIZES, **FAMILIES[family], **sizes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path, template: str = TEMPLATE, added: Sequence[str] = ()) -> None:
    """A tokenizer of `TOKENS` words, and more of them if they are named."""
    words = {"<unk>": 0, "<end>": 1, **{f"w{n}": n for n in range(2, TOKENS)}}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = {"unk_token": "<unk>", "eos_token": "<end>", "pad_token": "<end>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=plain, **ends)
    fast.chat_template = template
    fast.add_tokens(list(added))
    fast.save_pretrained(folder)


@torch.no_grad()
def write_lora(
    model: Path, folder: Path, saved: Mapping[str, Any] | None = None, **options: Any
) -> Path:
    """A LoRA as PEFT saves it, trained at random.

    Args:
        model: Its base.
        folder: New.
        saved: What PEFT is told when it saves.
        **options: Of its config.
    """
    said = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], **options}
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(3)
        plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        made = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", **said))
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
        made.save_pretrained(folder, **(saved or {}))
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Change an adapter's tensors on disk."""
    changed = change(load_file(folder / WEIGHTS))
    whole = {name: tensor.contiguous() for name, tensor in changed.items()}
    save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})


def reconfig(folder: Path, **changes: Any) -> None:
    """Change an adapter's config on disk."""
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@torch.no_grad()
def by_peft(folder: Path, model: Path) -> Tensor:
    """Logits of a model with an adapter, by PEFT itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
        found: Tensor = PeftModel.from_pretrained(plain, str(folder)).eval()(IDS).logits
    return found


@torch.no_grad()
def merged(model: Path, changes: Mapping[str, Tensor]) -> Tensor:
    """Logits of a model to whose parameters something was added."""
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    for name, change in changes.items():
        plain.get_parameter(name).add_(change)
    found: Tensor = plain(IDS).logits
    return found


def base_of(model: Path) -> Base:
    """The base that a model is."""
    return load_base(model, dtype="float32", device="cpu")


def opened(folder: Path, base: Base) -> Tensor:
    """Logits of a base with a finetune on it."""
    return logits(base, load_finetune(folder, base), IDS)


def check(found: Tensor, expected: Tensor, base: Base) -> None:
    """Hold logits against others that are not the base's own."""
    with torch.no_grad():
        assert (expected - base.model(IDS).logits).abs().max() > 0.05
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
