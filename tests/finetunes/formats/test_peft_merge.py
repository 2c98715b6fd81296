"""Adapters with more than factors of linears have PEFT's logits, and never write to the base."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, Gemma3Config, Gemma3TextConfig

from diffspeak.errors import CorruptFileError, DiffspeakError, UsageError
from diffspeak.finetunes import load_finetune
from tests.finetunes.mutations import fingerprint, logits
from tests.finetunes.strangers import (
    CONFIG,
    IDS,
    SIZES,
    WEIGHTS,
    base_of,
    by_peft,
    check,
    merged,
    opened,
    reconfig,
    rewrite,
    write_lora,
    write_model,
    write_tokenizer,
)
from tests.finetunes.variants import THROUGH_PEFT, family_of, make

MLP = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def trained_along(tensors, within):
    """The tensors, those of a name moved: an embedding that was trained with the factors."""
    torch.manual_seed(9)
    moved = 0.3 * torch.randn(SIZES["vocab_size"], SIZES["hidden_size"])
    return {name: t + moved if within in name else t for name, t in tensors.items()}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("plain", [True, False])
def test_embeddings_saved_along_are_taken_over(tmp_path, tied, plain):
    model = write_model("qwen3", tmp_path / "base", tie_word_embeddings=tied)
    targets = ["q_proj"] if plain else ["q_proj", "lm_head", "embed_tokens"]
    saved = {"save_embedding_layers": True}
    folder = write_lora(model, tmp_path / "lora", saved, target_modules=targets)
    within = ("embed_tokens.weight" if not tied else ".weight") if plain else "base_layer"
    rewrite(folder, lambda t: trained_along({**t}, within) if not plain else plain_moved(t, tied))
    base = base_of(model)
    before = fingerprint(base)
    check(opened(folder, base), by_peft(folder, model), base)
    assert fingerprint(base) == before


def plain_moved(tensors, tied):
    moved = trained_along(tensors, "embed_tokens.weight")
    return trained_along(moved, "lm_head.weight") if tied else moved


@pytest.mark.parametrize("kind", THROUGH_PEFT)
@pytest.mark.parametrize("damage", ["none", "half", "not finite", "another base"])
def test_the_base_is_never_written_to(kind, damage, family_folder, tmp_path):
    family = family_of(kind)
    folder = tmp_path / "finetune"
    make(kind, family_folder(family), folder)
    tensors = load_file(folder / WEIGHTS)
    if damage == "half":
        kept = dict(sorted(tensors.items())[::2])
        save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})
    if damage == "not finite":
        # The last tensor: what was loaded before it is on PEFT's copy by then.
        tensors[max(tensors)] = torch.full_like(tensors[max(tensors)].float(), float("inf"))
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    other = {"qwen3": "llama3", "gpt2": "qwen3"}[family]
    base = base_of(family_folder(other if damage == "another base" else family))
    before = fingerprint(base)
    try:
        logits(base, load_finetune(folder, base))
        # Norms of the same size and name fit any base.
        assert damage in ("none", "half") or kind == "LN tuning"
    except DiffspeakError as error:
        assert damage != "none" and "\n" not in str(error)
    assert fingerprint(base) == before


@pytest.mark.parametrize("family", ["qwen2_moe", "opt"])
def test_linears_that_are_fed_all_tokens_in_one_axis(tmp_path, family):
    model = write_model(family, tmp_path / "base")
    targets = MLP if family == "qwen2_moe" else ["q_proj", "fc1", "fc2"]
    folder = write_lora(model, tmp_path / "lora", target_modules=targets)
    base = base_of(model)
    assert not load_finetune(folder, base).whole
    check(opened(folder, base), by_peft(folder, model), base)


def test_a_model_that_reads_a_linears_bias(tmp_path):
    model = write_model("jamba", tmp_path / "base")
    folder = write_lora(model, tmp_path / "lora", target_modules=["q_proj", "dt_proj"])
    base = base_of(model)
    check(opened(folder, base), by_peft(folder, model), base)


@pytest.mark.parametrize(
    "family, part, names, inner",
    [
        ("qwen3_moe", "mlp", ("gate_proj", "up_proj", "down_proj"), 16),
        ("mixtral", "block_sparse_moe", ("w1", "w3", "w2"), SIZES["intermediate_size"]),
    ],
)
def test_factors_of_each_expert_from_before_transformers_5(tmp_path, family, part, names, inner):
    model = write_model(family, tmp_path / "base")
    folder = write_lora(model, tmp_path / "lora")
    generator = torch.Generator().manual_seed(5)
    tensors, changes = {}, {}
    for layer in range(2):
        found = []
        for expert in range(4):
            for name in names:
                sizes = (inner, 32) if name == names[2] else (32, inner)
                A = 0.3 * torch.randn(4, sizes[0], generator=generator)
                B = 0.3 * torch.randn(sizes[1], 4, generator=generator)
                key = f"base_model.model.model.layers.{layer}.{part}.experts.{expert}.{name}"
                tensors |= {f"{key}.lora_A.weight": A, f"{key}.lora_B.weight": B}
                found.append(2 * B @ A)
        each = [found[3 * n : 3 * n + 3] for n in range(4)]
        fused = f"model.layers.{layer}.mlp.experts"
        changes[f"{fused}.gate_up_proj"] = torch.stack([torch.cat(e[:2]) for e in each])
        changes[f"{fused}.down_proj"] = torch.stack([e[2] for e in each])
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    reconfig(folder, target_modules=list(names))
    base = base_of(model)
    expected = merged(model, changes)
    check(opened(folder, base), expected, base)
    torch.testing.assert_close(by_peft(folder, model), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("square", [False, True])
def test_fused_experts_as_peft_had_them_before_0_19(tmp_path, square):
    # Of a square weight only the version tells which way its factors lie.
    model = write_model("qwen3_moe", tmp_path / "base", moe_intermediate_size=32 if square else 16)
    parameters = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    folder = write_lora(model, tmp_path / "lora", target_parameters=parameters)
    expected = by_peft(folder, model)
    rewrite(folder, as_before)
    reconfig(folder, peft_version="0.18.1")
    base = base_of(model)
    check(opened(folder, base), expected, base)


def as_before(tensors):
    """The same change as PEFT 0.18 computed it: `einsum("o r e, e r i -> e i o")`."""
    found = dict(tensors)
    for key, A in tensors.items():
        if "experts" in key and "lora_A" in key:
            B = tensors[other := key.replace("lora_A", "lora_B")]
            # A [expert, rank, in], B [out, rank, expert].
            A, B = A.reshape(4, 4, -1), B.reshape(len(B), 4, 4)
            found[key] = torch.stack([B[:, :, e].T for e in range(4)]).flatten(0, 1)
            found[other] = torch.stack([A[e].T for e in range(4)], dim=-1).flatten(1)
    return found


def test_the_text_models_lora_on_the_multimodal_checkpoint(tmp_path):
    text = {**SIZES, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 16}
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    torch.manual_seed(0)
    whole = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    whole.save_pretrained(tmp_path / "whole")
    write_tokenizer(tmp_path / "whole")
    alone = AutoModelForCausalLM.from_config(Gemma3TextConfig(**text), dtype=torch.float32)
    alone.model.load_state_dict(whole.model.language_model.state_dict())
    alone.save_pretrained(tmp_path / "text")
    # The vision tower has linears of the same ends, and none of them was there.
    folder = write_lora(tmp_path / "text", tmp_path / "lora")
    base = base_of(tmp_path / "whole")
    finetune = load_finetune(folder, base)
    assert not [note for note in finetune.notes if "have no tensors" in note]
    check(logits(base, finetune, IDS), by_peft(folder, tmp_path / "text"), base)


@pytest.fixture
def lora(tmp_path):
    model = write_model("llama", tmp_path / "base")
    return model, write_lora(model, tmp_path / "lora")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"alora_invocation_tokens": [1, 2]}, "acts behind its invocation tokens alone"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "more layers than the base"),
        ({"peft_type": "P_TUNING"}, "type P_TUNING, which is no change of weights"),
        ({"peft_type": "IA3", "r": 10**9}, "says r 1000000000, and .* no side longer"),
        ({"use_dora": True, "rank_pattern": {"q_proj": 10**12}}, "says rank_pattern 10000000000"),
    ],
)
def test_what_no_change_of_weights_can_do_is_refused_by_name(lora, changes, said):
    model, folder = lora
    reconfig(folder, **changes)
    with pytest.raises((UsageError, CorruptFileError), match=said) as raised:
        load_finetune(folder, base_of(model))
    assert "where it was trained" not in str(raised.value)


def test_nobody_elses_draws_are_moved(lora):
    model, folder = lora
    reconfig(folder, use_dora=True)
    base = base_of(model)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_finetune(folder, base)
    assert torch.equal(torch.rand(3), expected)


def test_a_pattern_that_never_ends_is_refused_in_time(lora):
    model, folder = lora
    reconfig(folder, use_dora=True, target_modules=r"(.|.)*(.|.)*(.|.)*x")
    with pytest.raises(
        CorruptFileError, match=rf"{CONFIG} names no targets: the pattern .* takes longer than"
    ):
        load_finetune(folder, base_of(model))
