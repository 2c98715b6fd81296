"""PEFT LoRA folders: what peft made means here what it means there, or is refused by name."""

import json

import peft
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from diffspeak.errors import CorruptFileError, DiffspeakError, UsageError
from diffspeak.finetunes import is_peft, read_peft, write_peft
from diffspeak.finetunes.formats import peft_files
from diffspeak.lora import LowRank, stack_diffs
from diffspeak.models import attach_to
from diffspeak.store import tensors as store_tensors
from tests.toys import base_diff, toy_base

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
IDS = torch.tensor([list(range(5, 30)), list(range(40, 65))])


@pytest.fixture
def folder(base, tmp_path):
    write_peft(tmp_path, base_diff(base, rank=2, scaling=0.5), base.name)
    return tmp_path


@pytest.mark.parametrize("rank, scaling", [(1, 1.0), (3, 0.5), (49, 1 / 49)])
def test_it_is_read_as_it_was_written(base, tmp_path, rank, scaling):
    diff = base_diff(base, rank=rank, scaling=scaling)
    write_peft(tmp_path, diff, base.name)
    assert is_peft(tmp_path)
    found = read_peft(tmp_path)
    assert found.keys() == diff.keys()
    for name, change in diff.items():
        assert torch.equal(found[name].A, change.A)
        assert torch.equal(found[name].B, change.B)
        assert found[name].scaling == pytest.approx(scaling, rel=1e-12)


def made_by_peft(base, folder, **settings):
    """A folder that peft saved, and the logits that peft gives with it."""
    model = AutoModelForCausalLM.from_pretrained(base.name, dtype=torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        model.eval()
        logits = model(IDS).logits
    model.save_pretrained(folder)
    return logits


SETTINGS = {
    "plain": {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"]},
    "all linears": {"r": 2, "lora_alpha": 1, "target_modules": "all-linear"},
    "rslora": {"r": 4, "lora_alpha": 3, "use_rslora": True, "target_modules": ["v_proj"]},
    "patterns": {
        "r": 4,
        "lora_alpha": 3,
        "target_modules": ["q_proj", "v_proj", "up_proj"],
        "rank_pattern": {"q_proj": 2, r"layers\.1\.mlp\.up_proj": 7},
        "alpha_pattern": {"^model.layers.0.self_attn.v_proj": 9, "up_proj": 5},
    },
    "patterns and rslora": {
        "r": 4,
        "lora_alpha": 3,
        "use_rslora": True,
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"q_proj": 2},
    },
    "some layers": {"r": 2, "target_modules": ["o_proj"], "layers_to_transform": [1]},
    "dropout and gaussian": {
        "r": 2, "target_modules": ["k_proj"], "lora_dropout": 0.5, "init_lora_weights": "gaussian"
    },
}  # fmt: skip


def applied(base, diff):
    attachment = attach_to(base.model)
    try:
        attachment.set_diffs(stack_diffs([diff]))
        with torch.no_grad():
            return base.model(IDS).logits
    finally:
        attachment.detach()


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_what_peft_made_is_what_peft_means(base, tmp_path, settings):
    theirs = made_by_peft(base, tmp_path, **settings)
    ours = applied(base, read_peft(tmp_path))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - base.model(IDS).logits).abs().max() > 0.1


def test_conv1d_too(family_folder, tmp_path):
    base = toy_base(family_folder("gpt2"))
    theirs = made_by_peft(
        base, tmp_path, r=3, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True
    )
    torch.testing.assert_close(applied(base, read_peft(tmp_path)), theirs, rtol=1e-4, atol=1e-4)


REFUSED = {
    "use_dora": {"use_dora": True},
    "bias": {"bias": "lora_only"},
    "lora_bias": {"lora_bias": True},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "trainable_token_indices": {"trainable_token_indices": [3]},
    "init_lora_weights=pissa": {"init_lora_weights": "pissa"},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("named", REFUSED)
def test_what_is_no_plain_lora_is_refused_by_name(family_folder, tmp_path, named):
    # Made by peft, on a model whose linears have biases and whose embedding is tied.
    base = toy_base(family_folder("gpt2"))
    settings = {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True}
    made_by_peft(base, tmp_path, **settings, **REFUSED[named])
    with pytest.raises(UsageError, match=rf"is no plain LoRA \({named}.*\); merge it"):
        read_peft(tmp_path)


def config(folder, change):
    content = json.loads((folder / CONFIG).read_text())
    change(content)
    (folder / CONFIG).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "named",
    [
        "target_parameters",
        "layer_replication",
        "alora_invocation_tokens",
        "use_qalora",
        "use_bdlora",
        "monteclora_config",
        "kasa_config",
        "arrow_config",
    ],
)
def test_rarer_kinds_are_refused_by_name_too(folder, named):
    config(folder, lambda content: content.update({named: {"some": [1, 2]}}))
    with pytest.raises(UsageError, match=rf"is no plain LoRA \({named}\)"):
        read_peft(folder)


def test_another_type_of_adapter_is_refused_by_name(folder):
    config(folder, lambda content: content.update(peft_type="IA3"))
    with pytest.raises(UsageError, match=r"is no plain LoRA \(peft_type=IA3\)"):
        read_peft(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"peft_type": "LORA"}'])
def test_a_config_that_is_none(folder, text):
    (folder / CONFIG).write_text(text)
    with pytest.raises(DiffspeakError, match=CONFIG.replace(".", r"\.") + "|is no plain LoRA"):
        read_peft(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"r": "two"},
        {"r": None},
        {"lora_alpha": None},
        {"lora_alpha": "1"},
        {"rank_pattern": [1]},
        {"rank_pattern": {"(": 2}},
        {"alpha_pattern": {"q_proj": "x"}},
        {"lora_alpha": float("nan")},
    ],
)
def test_a_garbled_config(folder, change):
    config(folder, lambda content: content.update(change))
    with pytest.raises(CorruptFileError, match=CONFIG.replace(".", r"\.")):
        read_peft(folder)


@pytest.mark.parametrize("key", ["r", "lora_alpha"])
def test_a_config_that_lacks_a_number(folder, key):
    config(folder, lambda content: content.pop(key))
    with pytest.raises(CorruptFileError, match=rf"adapter_config\.json.*{key}"):
        read_peft(folder)


def test_a_config_of_another_rank(folder):
    config(folder, lambda content: content.update(r=5))
    with pytest.raises(CorruptFileError, match="says rank 5, the tensor has 2"):
        read_peft(folder)


def rewrite(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


NAME = "base_model.model.model.layers.0.mlp.up_proj"


@pytest.mark.parametrize(
    "key",
    [
        "more",
        f"{NAME}.lora_magnitude_vector",
        f"{NAME}.lora_embedding_A",
        f"{NAME}.lora_A.bias",
        f"{NAME}.lora_A.default.weight",
        "base_model.model.lm_head.weight",
        f"{NAME[11:]}.lora_A.weight",
    ],
)
def test_a_tensor_that_is_no_factor_is_refused_by_name(folder, key):
    rewrite(folder, lambda tensors: tensors.update({key: torch.zeros(2)}))
    with pytest.raises(UsageError, match="holds .*, which is no factor of a plain LoRA") as error:
        read_peft(folder)
    assert key in str(error.value)


@pytest.mark.parametrize(
    "change, what",
    [
        (lambda t: t.pop(f"{NAME}.lora_B.weight"), "only half of the factors of .*up_proj"),
        (lambda t: t.pop(f"{NAME}.lora_A.weight"), "only half of the factors of .*up_proj"),
        (lambda t: t.clear(), "holds no tensors"),
        (lambda t: t[f"{NAME}.lora_A.weight"].fill_(torch.nan), "up_proj.*not finite"),
        (lambda t: t[f"{NAME}.lora_B.weight"].fill_(torch.inf), "up_proj.*not finite"),
        (lambda t: t.update({f"{NAME}.lora_B.weight": torch.zeros(48, 3)}), "up_proj.*do not fit"),
        (lambda t: t.update({f"{NAME}.lora_A.weight": torch.zeros(2)}), "up_proj"),
        (lambda t: t.update({f"{NAME}.lora_B.weight": torch.zeros(())}), "up_proj"),
    ],
)
def test_damaged_weights(folder, change, what):
    rewrite(folder, change)
    with pytest.raises(CorruptFileError, match=what):
        read_peft(folder)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_weights_that_were_cut_off(folder, share):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_peft(folder)


def test_stacks_and_nothing_are_not_one_folder(base, tmp_path):
    diff = base_diff(base, rank=2)
    for other in ({}, stack_diffs([diff])):
        with pytest.raises(ValueError, match="one finetune's changes"):
            write_peft(tmp_path, other, base.name)
    assert not is_peft(tmp_path)


def test_factors_that_are_views_are_written_whole(base, tmp_path):
    stack = stack_diffs([base_diff(base, seed=n) for n in range(3)])
    diff = {name: change[1] for name, change in stack.items()}
    write_peft(tmp_path, diff, base.name)
    found = read_peft(tmp_path)
    assert all(torch.equal(found[name].A, change.A) for name, change in diff.items())
    assert isinstance(next(iter(found.values())), LowRank)


def test_a_full_disk_is_said(base, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    for place in (peft_files, store_tensors):
        monkeypatch.setattr(place, "save_file", full)
    with pytest.raises(DiffspeakError, match="no space left"):
        write_peft(tmp_path, base_diff(base), base.name)
    assert not list(tmp_path.iterdir())
