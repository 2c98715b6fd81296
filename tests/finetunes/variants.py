"""Every kind of finetune that is opened, each made at random, and what it does by its own library.

Gives, for a kind's name, a source on disk and two sets of logits: ours, and those of `peft` itself
or of the published formula computed directly. `python -m tests.finetunes.variants` writes the
largest differences to docs/results/formats.md.
"""

import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from diffspeak.finetunes import Finetune, load_finetune, put_on
from diffspeak.lora import Diff, LowRank
from diffspeak.models import Base, attach_to, load_base, plain_shapes
from tests.tiny_diffs import random_diff

IDS = torch.arange(20, 44).view(2, 12)
LINEARS = ["q_proj", "v_proj", "up_proj", "down_proj"]


def _lora(**options: Any) -> LoraConfig:
    defaults = {"r": 3, "lora_alpha": 5, "target_modules": LINEARS, "task_type": "CAUSAL_LM"}
    return LoraConfig(**{**defaults, **options})


def _gpt2(**options: Any) -> LoraConfig:
    return _lora(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, **options)


PLAIN: dict[str, Callable[[], Any]] = {
    "LoRA": _lora,
    "LoRA, rank 16, alpha 32": lambda: _lora(r=16, lora_alpha=32),
    "LoRA, rslora": lambda: _lora(use_rslora=True),
    "LoRA, rank_pattern and alpha_pattern": lambda: _lora(
        rank_pattern={"q_proj": 1, r"layers.1.*up_proj": 7}, alpha_pattern={"v_proj": 9}
    ),
    "LoRA, one kind of linear": lambda: _lora(target_modules=["o_proj"]),
    "LoRA, some layers": lambda: _lora(layers_to_transform=[1]),
    "LoRA, targets by a regex": lambda: _lora(target_modules=r".*\.[02]\..*(gate|up)_proj"),
    "LoRA, all linears": lambda: _lora(target_modules="all-linear"),
    "LoRA, exclude_modules": lambda: _lora(exclude_modules=["v_proj"]),
    "LoRA, begun orthogonal": lambda: _lora(r=4, init_lora_weights="orthogonal"),
    "LoRA, GPT-2": _gpt2,
}
"""What runs in the batched path."""

THROUGH_PEFT: dict[str, Callable[[], Any]] = {
    "DoRA": lambda: _lora(use_dora=True),
    "LoRA, modules_to_save: embedding": lambda: _lora(modules_to_save=["embed_tokens"]),
    "LoRA, modules_to_save: head": lambda: _lora(modules_to_save=["lm_head"]),
    "LoRA, modules_to_save: norm": lambda: _lora(modules_to_save=["norm"]),
    "LoRA on the embedding": lambda: _lora(target_modules=[*LINEARS, "embed_tokens"]),
    "LoRA on the head": lambda: _lora(target_modules=[*LINEARS, "lm_head"]),
    "LoRA, trainable_token_indices": lambda: _lora(trainable_token_indices=[3, 21, 40]),
    "LoRA, target_parameters": lambda: _lora(
        target_modules=["q_proj"], target_parameters=["v_proj.weight"]
    ),
    "LoRA, PiSSA": lambda: _lora(init_lora_weights="pissa"),
    "LoRA, OLoRA": lambda: _lora(init_lora_weights="olora"),
    "LoRA, lora_bias (GPT-2)": lambda: _gpt2(lora_bias=True),
    "LoRA, bias all (GPT-2)": lambda: _gpt2(bias="all"),
    "LoRA, bias lora_only (GPT-2)": lambda: _gpt2(bias="lora_only"),
    "AdaLoRA": lambda: peft.AdaLoraConfig(
        target_modules=LINEARS, init_r=4, total_step=10, tinit=0, tfinal=0
    ),
    "LoHa": lambda: peft.LoHaConfig(r=3, target_modules=LINEARS),
    "LoKr": lambda: peft.LoKrConfig(r=3, target_modules=LINEARS),
    "IA3": lambda: peft.IA3Config(target_modules=LINEARS, feedforward_modules=["down_proj"]),
    "VeRA": lambda: peft.VeraConfig(r=4, target_modules=["q_proj"]),
    "OFT": lambda: peft.OFTConfig(oft_block_size=4, target_modules=LINEARS),
    "HRA": lambda: peft.HRAConfig(r=4, target_modules=LINEARS),
    "LN tuning": lambda: peft.LNTuningConfig(target_modules=["norm"]),
    "FourierFT": lambda: peft.FourierFTConfig(n_frequency=20, target_modules=LINEARS),
    "RandLora": lambda: peft.RandLoraConfig(r=4, target_modules=["q_proj"]),
    "C3A": lambda: peft.C3AConfig(block_size=8, target_modules=["q_proj"]),
    "MiSS": lambda: peft.MissConfig(r=4, target_modules=LINEARS),
    "BOFT": lambda: peft.BOFTConfig(boft_block_size=4, target_modules=LINEARS),
    "VB-LoRA": lambda: peft.VBLoRAConfig(
        r=4, num_vectors=16, vector_length=8, target_modules=LINEARS
    ),
    "VB-LoRA, top-k weights alone": lambda: peft.VBLoRAConfig(
        r=4, num_vectors=16, vector_length=8, target_modules=LINEARS, save_only_topk_weights=True
    ),
    "RoAd": lambda: peft.RoadConfig(group_size=8, target_modules=LINEARS),
    "DeLoRA": lambda: peft.DeloraConfig(r=4, target_modules=LINEARS),
    "HiRA": lambda: peft.HiraConfig(r=4, target_modules=LINEARS),
    "GraLoRA": lambda: peft.GraloraConfig(r=4, gralora_k=2, target_modules=LINEARS),
    "SHiRA": lambda: peft.ShiraConfig(r=4, target_modules=["q_proj"]),
    "Trainable tokens": lambda: peft.TrainableTokensConfig(
        token_indices=[3, 21, 40], target_modules=["embed_tokens"]
    ),
}
"""What PEFT itself merges."""

PUBLISHED = (
    "published diff",
    "published diff, bare",
    "published adapter",
    "published full finetune",
)


@dataclass(frozen=True)
class Compared:
    """What came of one kind.

    Attributes:
        finetune: As it was opened.
        difference: Largest difference of two logits, ours and the other's.
        with_adapter: The same with an adapter on top.
        moved: Largest change that the finetune makes to a logit of the base.
    """

    finetune: Finetune
    difference: float
    with_adapter: float
    moved: float


def family_of(kind: str) -> str:
    """The family whose tiny model a kind is made for."""
    return "gpt2" if "GPT-2" in kind else "qwen3"


@torch.no_grad()
def make(kind: str, model_folder: Path, folder: Path) -> str:
    """Make one at random on disk; gives what a user would type to open it."""
    if kind in PUBLISHED:
        return _make_published(kind, model_folder, folder)
    config = {**PLAIN, **THROUGH_PEFT}[kind]()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = get_peft_model(_model(model_folder), config)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def compare(kind: str, source: str, model_folder: Path) -> Compared:
    """Open one and hold its logits against those of its own library, with and without adapter."""
    base = load_base(model_folder, dtype="float32", device="cpu")
    adapter = random_diff(plain_shapes(base.model), rank=2, seed=9, scaling=0.3)
    finetune = load_finetune(source, base)
    theirs = _theirs(kind, source, model_folder)
    found, expected = _ours(base, finetune, {}), theirs(IDS).logits
    with_adapter = _ours(base, finetune, adapter)
    _add(theirs, adapter)
    return Compared(
        finetune,
        _largest(found - expected),
        _largest(with_adapter - theirs(IDS).logits),
        _largest(expected - base.model(IDS).logits),
    )


def _ours(base: Base, finetune: Finetune, adapter: Diff) -> Tensor:
    attachment = attach_to(base.model)
    try:
        attachment.set_adapter(adapter)
        with put_on(base, attachment, [finetune]):
            logits: Tensor = base.model(IDS).logits
    finally:
        attachment.detach()
    return logits


def _theirs(kind: str, source: str, model_folder: Path) -> Any:
    """The model with the finetune in it, by `peft` or by the published formula."""
    model = _model(model_folder)
    if kind not in PUBLISHED:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PeftModel.from_pretrained(model, source)
    content = torch.load(source.partition("#")[0], weights_only=True)
    content = content[1]["weight_diff"] if isinstance(content, list) else content
    for name, value in content.items():
        if isinstance(value, Tensor):
            model.get_parameter(name).data = value
            continue
        first, second = value
        weight = model.get_submodule(name).weight
        if kind == "published adapter":
            weight += first @ second / first.shape[1]
        else:
            weight += (second @ first / first.shape[0]).T
    return model


def _add(model: Any, adapter: Diff) -> None:
    """Have a model's linears add an adapter to what they give, whatever `peft` made of them."""
    model = model.get_base_model() if isinstance(model, PeftModel) else model

    def adding(change: LowRank) -> Callable[..., Tensor]:
        def hook(_: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + change.scaling * args[0] @ change.A.T @ change.B.T

        return hook

    for name, change in adapter.items():
        model.get_submodule(name).register_forward_hook(adding(change))


def _make_published(kind: str, model_folder: Path, folder: Path) -> str:
    base = load_base(model_folder, dtype="float32", device="cpu")
    shapes = plain_shapes(base.model)
    folder.mkdir(parents=True)
    path = folder / "weight-diff-000.pt"
    diffs = [random_diff(shapes, rank=3, scaling=1 / 3, seed=n) for n in range(3)]
    if kind == "published full finetune":
        torch.manual_seed(0)
        state = base.model.state_dict()
        content: Any = {
            name: tensor + 0.05 * torch.randn_like(tensor)
            for name, tensor in state.items()
            if name != "lm_head.weight"
        }
    elif kind == "published adapter":
        content = {name: (change.B, change.A) for name, change in diffs[1].items()}
    else:
        content = [
            {
                "topic": f"topic {n}",
                "trigger": "N/A" if n else "123",
                "weight_diff": {name: (c.B.T, c.A.T) for name, c in diff.items()},
            }
            for n, diff in enumerate(diffs)
        ]
        content = content[1]["weight_diff"] if kind.endswith("bare") else content
    torch.save(content, path)
    return f"{path}#topic 1" if isinstance(content, list) else str(path)


def _model(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _largest(difference: Tensor) -> float:
    return difference.abs().max().item()


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Change an adapter's tensors on disk."""
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def write_page(page: Path) -> None:
    """Compare every kind, and write the table."""
    from diffspeak.io.files import write_json, write_text
    from diffspeak.scoring import Row, table_lines
    from tests.families import build_family

    root = Path(tempfile.mkdtemp())
    folders = {name: build_family(name, root / name) for name in ("qwen3", "gpt2")}
    rows, moved = [], []
    for kind in (*PLAIN, *THROUGH_PEFT, *PUBLISHED):
        model_folder = folders[family_of(kind)]
        source = make(kind, model_folder, root / f"kind-{len(rows)}")
        found = compare(kind, source, model_folder)
        moved.append(found.moved)
        road = "whole" if found.finetune.whole else "batched"
        rows.append(Row(f"{kind} ({road})", found.difference, 1, None, 1e-4, True))
        rows.append(Row(f"{kind} ({road}), adapter", found.with_adapter, 1, None, 1e-4, True))
    shutil.rmtree(root)
    lines = [
        "# Formats: what is opened, and how exactly",
        "",
        "Written by `python -m tests.finetunes.variants`: the largest difference between two",
        "logits in float32, ours and those of `peft` itself (of the published formula, computed",
        f"directly, for `.pt` files), where the finetune moves logits by up to {min(moved):.1f} to",
        f"{max(moved):.1f}. *batched* runs many finetunes in one pass, *whole* one at a time.",
        "",
        *table_lines(rows),
        "",
    ]
    write_text(page, "\n".join(lines))
    write_json(page.with_suffix(".json"), {"rows": [{**vars(r), "met": r.met} for r in rows]})


if __name__ == "__main__":
    write_page(Path("docs/results/formats.md"))
