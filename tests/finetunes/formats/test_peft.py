"""A PEFT folder that does not fit its base, or itself, is refused by the tensor's name."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes import load_finetune
from diffspeak.finetunes.formats.peft_files import CONFIG, WEIGHTS
from tests.finetunes.mutations import logits
from tests.finetunes.variants import IDS, make, rewrite
from tests.toys import toy_base

UP = "base_model.model.model.layers.0.mlp.up_proj.lora_{}.weight"
A, B = UP.format("A"), UP.format("B")
UP_PROJ = "model.layers.0.mlp.up_proj"


@pytest.fixture(scope="module")
def lora(tiny, tmp_path_factory):
    return make("LoRA", tiny, tmp_path_factory.mktemp("lora") / "lora")


@pytest.fixture
def folder(lora, tmp_path):
    return shutil.copytree(lora, tmp_path / "lora")


def config(folder, **changes):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def also_gate(tensors):
    """Factors of a linear that the config does not target."""
    for name in (A, B):
        tensors[name.replace("up_proj", "gate_proj")] = tensors[name].clone()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda t: t.update({A: t[A][:, :-1].clone()}), MismatchError, "up_proj: its factors map"),
        (lambda t: t.update({B: t[B][:-1].clone()}), MismatchError, "up_proj: its factors map"),
        (lambda t: t[A][0].fill_(float("nan")), CorruptFileError, f"{A}: holds numbers that are"),
        # PEFT would begin it with random numbers.
        (lambda t: t.pop(A), CorruptFileError, "only half of the factors of .*up_proj"),
        (
            lambda t: t.update({A.replace("layers.0", "layers.9"): t[A].clone()}),
            MismatchError,
            r"changes model.layers.9.mlp.up_proj, which .* has not",
        ),
        (
            also_gate,
            CorruptFileError,
            "gate_proj has tensors and is not targeted",
        ),
        (
            lambda t: t.update(odd=torch.zeros(3)),
            CorruptFileError,
            "holds odd, which peft does not",
        ),
    ],
)
def test_tensors_that_do_not_fit(base, folder, change, error, message):
    rewrite(folder, change)
    with pytest.raises(error, match=message) as raised:
        load_finetune(folder, base)
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("dropped", [(B,), (A, B)])
def test_what_is_missing_is_the_bases_own_as_peft_has_it(base, tiny, tmp_path, dora, dropped):
    folder = tmp_path / "lora"
    make("DoRA" if dora else "LoRA", tiny, folder)
    rewrite(folder, lambda tensors: [tensors.pop(name) for name in dropped])
    finetune = load_finetune(folder, base)
    torch.testing.assert_close(logits(base, finetune), by_peft(tiny, folder), rtol=0, atol=1e-4)
    assert any("up_proj" in note for note in finetune.notes), finetune.notes


def by_peft(tiny, folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(plain, str(folder)).eval()(IDS).logits


@pytest.mark.parametrize("change", [{"something_new": {"a": 1}}, {"lora_alpha": "left out"}])
def test_what_peft_ignores_or_fills_in_is_noted(base, tiny, folder, change):
    content = json.loads((folder / CONFIG).read_text()) | change
    if "lora_alpha" in change:
        del content["lora_alpha"]
    (folder / CONFIG).write_text(json.dumps(content))
    finetune = load_finetune(folder, base)
    torch.testing.assert_close(logits(base, finetune), by_peft(tiny, folder), rtol=0, atol=1e-4)
    assert any(next(iter(change)) in note for note in finetune.notes), finetune.notes


def test_an_adapter_that_was_never_trained_changes_nothing(base, folder):
    rewrite(folder, lambda t: t.update({n: torch.zeros_like(t[n]) for n in t if "lora_B" in n}))
    assert "it changes nothing" in load_finetune(folder, base).notes[0]


def test_parts_of_a_sharded_training_are_named(base, folder):
    rewrite(folder, lambda t: t.update({name: torch.empty(0) for name in t}))
    with pytest.raises(CorruptFileError, match=r"is empty \(\(0,\)\): .*gather them"):
        load_finetune(folder, base)


def test_names_of_a_compiled_model(base, folder):
    expected = load_finetune(folder, base)

    def compiled(tensors):
        for name in list(tensors):
            tensors[name.replace("base_model.model.", "base_model.model._orig_mod.")] = tensors.pop(
                name
            )

    rewrite(folder, compiled)
    found = load_finetune(folder, base)
    assert found.diff.keys() == expected.diff.keys()
    assert torch.equal(found.diff[UP_PROJ].B, expected.diff[UP_PROJ].B)


def test_pickled_tensors_are_opened_as_tensors(base, tiny, folder):
    expected = by_peft(tiny, folder)
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    found = logits(base, load_finetune(folder, base))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("content", [{"a": Path("x")}, [torch.zeros(2)], {"a": 3}])
def test_pickles_of_more_than_tensors_are_not_opened(base, folder, content, tmp_path):
    (folder / WEIGHTS).unlink()
    torch.save(content, folder / "adapter_model.bin")
    with pytest.raises(CorruptFileError, match="holds more than tensors|is no table of tensors"):
        load_finetune(folder, base)


def test_a_config_left_beside_a_whole_model(base, tiny, folder, tmp_path):
    left = Path(shutil.copytree(tiny, tmp_path / "merged"))
    shutil.copy(folder / CONFIG, left)
    assert "does not differ" in load_finetune(left, base).notes[0]
    shutil.copy(folder / WEIGHTS, left)
    both = load_finetune(left, base)
    assert both.diff and "holds a whole model too (model.safetensors)" in both.notes[-1]
    (folder / WEIGHTS).unlink()
    with pytest.raises(CorruptFileError, match="the adapter's weights are missing"):
        load_finetune(folder, base)


def test_a_lora_for_another_architecture(lora, family_folder):
    with pytest.raises(MismatchError, match="another architecture"):
        load_finetune(lora, toy_base(family_folder("gpt2")))


def test_a_dora_for_another_architecture(tiny, family_folder, tmp_path):
    source = make("DoRA", tiny, tmp_path / "dora")
    with pytest.raises(MismatchError, match="cannot be merged"):
        load_finetune(source, toy_base(family_folder("gpt2")))


def test_a_config_that_says_another_rank(base, folder):
    config(folder, r=4)
    with pytest.raises(CorruptFileError, match="says rank 4, the tensor has 3"):
        load_finetune(folder, base)


@pytest.mark.parametrize(
    "kind, lost",
    [
        ("DoRA", "lora_A"),
        ("LoRA, modules_to_save: head", "lm_head"),
        ("LoHa", "hada_w1_a"),
        ("VeRA", "vera_A"),
    ],
)
def test_what_peft_merges_has_to_be_whole_too(base, tiny, tmp_path, kind, lost):
    folder = tmp_path / "finetune"
    make(kind, tiny, folder)

    def without_one(tensors):
        del tensors[min(name for name in tensors if lost in name)]

    rewrite(folder, without_one)
    with pytest.raises(DiffspeakError, match="lacks .* random numbers|cannot be merged"):
        load_finetune(folder, base)
    shutil.rmtree(folder)
    make(kind, tiny, folder)
    rewrite(folder, lambda tensors: tensors.update(odd=torch.zeros(3)))
    with pytest.raises(CorruptFileError, match="holds odd, which peft does not use"):
        load_finetune(folder, base)


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"init_lora_weights": "corda"}, "init_lora_weights=corda"),
        ({"init_lora_weights": "loftq"}, "init_lora_weights=loftq"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights=pissa_niter_4"),
        ({"use_qalora": True}, "use_qalora=True"),
        ({"arrow_config": {"top_k": 2}}, "arrow_config"),
    ],
)
def test_what_needs_more_than_the_folder_is_refused_by_name(base, folder, changes, named):
    config(folder, **changes)
    with pytest.raises(UsageError, match=f"cannot be opened: {named} needs more"):
        load_finetune(folder, base)


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": "("},
        {"target_modules": 5},
        {"exclude_modules": "("},
        {"target_modules": "q_proj", "layers_to_transform": [0]},
        {"layers_to_transform": "a"},
    ],
)
@pytest.mark.parametrize("dora", [False, True])
def test_targets_that_mean_nothing_are_refused(base, folder, changes, dora):
    config(folder, use_dora=dora, **changes)
    message = r"names no targets|is no pattern|cannot be merged|disagree|lacks"
    with pytest.raises(DiffspeakError, match=message):
        load_finetune(folder, base)


def test_all_linear_means_all(base, folder):
    config(folder, target_modules="all-linear")
    notes = load_finetune(folder, base).notes
    assert "9 modules that its config targets have no tensors" in notes[0]


def test_prompts_are_no_change_of_weights(base, folder):
    config(folder, peft_type="PREFIX_TUNING")
    with pytest.raises(UsageError, match="type PREFIX_TUNING, which is no change of weights"):
        load_finetune(folder, base)


def test_half_precision_factors_are_read_as_they_are(base, folder):
    rewrite(folder, lambda tensors: tensors.update({n: t.bfloat16() for n, t in tensors.items()}))
    change = load_finetune(folder, base).diff["model.layers.0.mlp.up_proj"]
    assert change.A.dtype == torch.float32
    assert torch.equal(change.A, change.A.bfloat16().float())
