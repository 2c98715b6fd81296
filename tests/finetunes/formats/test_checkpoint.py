"""A full checkpoint is used whole, or by its best low-rank change; a merged LoRA is noticed."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, Qwen3MoeConfig

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes import load_finetune, put_on, write_merged
from diffspeak.finetunes.formats.rounding import SKETCH, rank_above_rounding
from diffspeak.models import attach_to, load_base, plain_shapes
from tests.families import FAMILIES, SIZES
from tests.tiny_diffs import merged, random_diff

IDS = torch.arange(20, 40)[None]


@pytest.fixture(params=FAMILIES)
def family(request, family_folder):
    return family_folder(request.param)


@pytest.fixture
def base(tiny):
    return load_base(tiny, dtype="float32", device="cpu")


def logits(base, finetune):
    attachment = attach_to(base.model)
    try:
        with torch.no_grad(), put_on(base, attachment, [finetune]):
            return base.model(IDS).logits
    finally:
        attachment.detach()


def noisy(model, scale=0.05):
    """A full finetune: every parameter moved."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def loaded(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def mixture_of_experts(tiny, folder):
    """A model whose experts transformers stores one by one and holds in one tensor."""
    config = Qwen3MoeConfig(
        **SIZES,
        num_hidden_layers=2,
        head_dim=16,
        moe_intermediate_size=24,
        num_experts=4,
        num_experts_per_tok=2,
        vocab_size=AutoConfig.from_pretrained(tiny).vocab_size,
    )
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("model*", "config.json"))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("shard_size", ["50GB", "40KB"])
def test_used_whole_it_is_the_checkpoint_itself(family, tmp_path, shard_size):
    model = noisy(loaded(family))
    model.save_pretrained(tmp_path, max_shard_size=shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (shard_size == "40KB")
    base = load_base(family, dtype="float32", device="cpu")
    finetune = load_finetune(tmp_path, base)
    assert finetune.whole and not finetune.notes
    torch.testing.assert_close(logits(base, finetune), model(IDS).logits, rtol=0, atol=1e-5)


def test_what_did_not_change_is_not_kept(base, tiny, tmp_path):
    model = loaded(tiny)
    model.model.norm.weight.data += 1
    model.save_pretrained(tmp_path)
    assert list(load_finetune(tmp_path, base).parameters) == ["model.norm.weight"]


def test_all_singular_directions_are_the_difference_itself(family, tmp_path):
    base = load_base(family, dtype="float32", device="cpu")
    shapes = plain_shapes(base.model)
    model = merged(loaded(family), random_diff(shapes, rank=2))
    model.save_pretrained(tmp_path)
    finetune = load_finetune(tmp_path, base, low_rank=32)
    assert not finetune.whole and set(finetune.diff) == set(shapes)
    assert min(finetune.captured.values()) > 0.99999
    torch.testing.assert_close(logits(base, finetune), model(IDS).logits, rtol=0, atol=1e-3)


def test_a_lower_rank_says_what_it_holds_and_what_it_leaves_out(base, tiny, tmp_path):
    noisy(loaded(tiny)).save_pretrained(tmp_path)
    finetune = load_finetune(tmp_path, base, low_rank=1)
    assert {change.rank for change in finetune.diff.values()} == {1}
    assert all(0 < share < 0.5 for share in finetune.captured.values())
    assert "of the difference's energy" in finetune.notes[0]
    assert "model.embed_tokens.weight the most" in finetune.notes[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rank", [1, 5])
def test_a_merged_lora_is_noticed_with_its_rank(base, tiny, tmp_path, dtype, rank):
    model = merged(loaded(tiny), random_diff(plain_shapes(base.model), rank=rank))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and "layers" in name:
            parameter.data = parameter.data.to(dtype)
    model.save_pretrained(tmp_path)
    (note,) = load_finetune(tmp_path, base).notes
    assert f"rank {rank} at most" in note and f"--low-rank {rank} reads" in note
    assert str(dtype).removeprefix("torch.") in note


def test_a_full_finetune_is_not_taken_for_one(base, tiny, tmp_path):
    model = loaded(tiny)
    torch.manual_seed(1)
    for layer in model.model.layers:
        layer.mlp.up_proj.weight.data += 0.02 * torch.randn_like(layer.mlp.up_proj.weight)
    model.save_pretrained(tmp_path)
    assert not load_finetune(tmp_path, base).notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rank", [0, 3, 30])
def test_the_floor_lies_between_rounding_and_a_real_change(dtype, rank):
    torch.manual_seed(0)
    weight = 0.05 * torch.randn(300, 200).to(dtype)
    change = (torch.randn(300, rank) @ torch.randn(rank, 200) * 0.02).to(dtype)
    stored = weight + change
    difference = stored.double() - weight.double()
    found, floor = rank_above_rounding(difference, stored)
    assert found == rank
    values = torch.linalg.svdvals(difference)
    assert (values > floor).sum() == rank
    if rank:
        # Neither far above the rounding nor near the smallest that is real.
        assert values[rank] < floor < 10 * values[rank]
        assert values[rank - 1] > 10 * floor


def test_a_high_rank_is_not_named():
    torch.manual_seed(0)
    weight, change = (
        torch.randn(300, 200),
        torch.randn(300, SKETCH + 6) @ torch.randn(SKETCH + 6, 200),
    )
    assert rank_above_rounding(change, weight + change)[0] is None


def test_tensors_that_transformers_fuses_go_through_it(tiny, tmp_path):
    folder = mixture_of_experts(tiny, tmp_path / "base")
    base = load_base(folder, dtype="float32", device="cpu")
    model = noisy(loaded(folder))
    model.save_pretrained(tmp_path / "finetune")
    names = set(load_file(tmp_path / "finetune" / "model.safetensors"))
    assert not names <= set(dict(base.model.named_parameters()))
    finetune = load_finetune(tmp_path / "finetune", base)
    torch.testing.assert_close(logits(base, finetune), model(IDS).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("trained", ["embed_tokens", "lm_head"])
def test_a_head_that_is_no_longer_tied_is_read_as_it_is(base, tiny, tmp_path, trained):
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    part = model.model.embed_tokens if trained == "embed_tokens" else model.lm_head
    part.weight.data *= 1.3
    model.save_pretrained(tmp_path / "loose")
    finetune = load_finetune(tmp_path / "loose", base)
    torch.testing.assert_close(logits(base, finetune), model(IDS).logits, rtol=0, atol=1e-5)
    write_merged(base, finetune, {}, tmp_path / "merged")
    merged = load_base(tmp_path / "merged", dtype="float32", device="cpu")
    torch.testing.assert_close(merged.model(IDS).logits, model(IDS).logits, rtol=0, atol=1e-5)


def test_a_tied_tensor_may_bear_either_name(base, tiny, tmp_path):
    folder = spoiled(tiny, tmp_path, lambda t: t.update({"lm_head.weight": t.pop(EMBED) * 1.3}))
    expected = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(IDS).logits
    found = logits(base, load_finetune(folder, base))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_stray_copy_beside_the_model_is_not_read(base, tiny, tmp_path):
    folder = spoiled(tiny, tmp_path, lambda t: t[EMBED].mul_(1.3))
    shutil.copy(tiny / "model.safetensors", folder / "model_old.safetensors")
    assert load_finetune(folder, base).parameters
    (folder / "model.safetensors").rename(folder / "model_new.safetensors")
    with pytest.raises(CorruptFileError, match="so does another file"):
        load_finetune(folder, base)


def test_a_changed_buffer_is_refused(tiny, tmp_path):
    base = load_base(tiny, dtype="float32", device="cpu")
    base.model.model.register_buffer("routing", torch.zeros(3))
    folder = spoiled(tiny, tmp_path, lambda t: t.update({"model.routing": torch.ones(3)}))
    with pytest.raises(UsageError, match="changes model.routing, which is no parameter"):
        load_finetune(folder, base)


def test_a_strangers_code_is_not_run(base, tiny, tmp_path, monkeypatch):
    folder = spoiled(tiny, tmp_path, lambda t: t.update(odd=torch.zeros(2)))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    trap = tmp_path / "trap"
    (folder / "evil.py").write_text(f"open({str(trap)!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UsageError, match="no model that transformers can load"):
        load_finetune(folder, base)
    with pytest.raises(UsageError):
        load_base(folder)
    assert not trap.exists()


def test_a_checkpoint_that_is_the_base_says_so(base, tiny):
    finetune = load_finetune(tiny, base)
    assert not finetune.whole and "does not differ from" in finetune.notes[0]


def spoiled(tiny, tmp_path, change):
    folder = tmp_path / "spoiled"
    shutil.copytree(tiny, folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_a_vocabulary_that_was_cut_is_refused_by_name(base, tiny, tmp_path):
    folder = spoiled(tiny, tmp_path, lambda t: t.update({EMBED: t[EMBED][:-3].clone()}))
    with pytest.raises(MismatchError, match=r"has 445 tokens where .* has 448: .* was cut"):
        load_finetune(folder, base)


def test_a_quantized_checkpoint_is_refused_as_what_it_is(base, tiny, tmp_path):
    folder = spoiled(tiny, tmp_path, lambda t: None)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"is quantized \(bitsandbytes\).*model\.dequantize\(\)"):
        load_finetune(folder, base)


def test_numbers_that_are_not_finite_are_refused_by_name(base, tiny, tmp_path):
    name = "model.layers.1.mlp.up_proj.weight"
    folder = spoiled(tiny, tmp_path, lambda t: t[name][0].fill_(float("nan")))
    with pytest.raises(CorruptFileError, match=f"{name} holds numbers that are not finite"):
        load_finetune(folder, base)


def test_a_missing_tensor_is_refused_by_name(base, tiny, tmp_path):
    folder = spoiled(tiny, tmp_path, lambda t: t.pop("model.norm.weight"))
    with pytest.raises(MismatchError, match="lacks model.norm.weight"):
        load_finetune(folder, base)


def test_another_architecture_is_refused(base, family_folder):
    with pytest.raises(MismatchError, match="another architecture"):
        load_finetune(family_folder("gpt2"), base)


def test_an_index_that_leads_out_of_its_folder_is_refused(base, tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    index = {"weight_map": {EMBED: "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CorruptFileError, match="names '../elsewhere.safetensors'.*outside"):
        load_finetune(folder, base)


def test_pickled_weights_are_not_opened(base, tiny, tmp_path):
    shutil.copy(tiny / "config.json", tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match="pickled weights could run code"):
        load_finetune(tmp_path, base)


def test_a_cut_off_file_is_refused(base, tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match="cannot be read"):
        load_finetune(folder, base)


EMBED = "model.embed_tokens.weight"
