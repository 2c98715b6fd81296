"""A PEFT folder that does not fit its base, or itself, is refused by the tensor's name."""

import json
import shutil

import pytest
import torch

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes import load_finetune
from diffspeak.finetunes.peft_format import CONFIG, WEIGHTS
from tests.finetunes.variants import make, rewrite
from tests.toys import toy_base

UP = "base_model.model.model.layers.0.mlp.up_proj.lora_{}.weight"
A, B = UP.format("A"), UP.format("B")


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
        (lambda t: t.pop(B), CorruptFileError, "only half of the factors of .*up_proj"),
        (lambda t: (t.pop(A), t.pop(B)), CorruptFileError, "up_proj is targeted .* no tensors"),
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


@pytest.mark.parametrize("kind", ["DoRA", "LoRA, modules_to_save: head", "IA3", "LoHa"])
def test_what_peft_merges_has_to_be_whole_too(base, tiny, tmp_path, kind):
    folder = tmp_path / "finetune"
    make(kind, tiny, folder)

    def without_the_last(tensors):
        del tensors[max(tensors)]

    rewrite(folder, without_the_last)
    with pytest.raises(DiffspeakError, match="lacks|cannot be merged"):
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
        ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"something_new": {"a": 1}}, "something_new"),
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
    with pytest.raises(CorruptFileError, match="is targeted by the config and has no tensors"):
        load_finetune(folder, base)


def test_prompts_are_no_change_of_weights(base, folder):
    config(folder, peft_type="PREFIX_TUNING")
    with pytest.raises(UsageError, match="type PREFIX_TUNING, which is no change of weights"):
        load_finetune(folder, base)


def test_pickled_weights_are_not_opened(base, folder):
    (folder / WEIGHTS).unlink()
    torch.save({}, folder / "adapter_model.bin")
    with pytest.raises(UsageError, match="pickled weights could run code"):
        load_finetune(folder, base)


def test_half_precision_factors_are_read_as_they_are(base, folder):
    rewrite(folder, lambda tensors: tensors.update({n: t.bfloat16() for n, t in tensors.items()}))
    change = load_finetune(folder, base).diff["model.layers.0.mlp.up_proj"]
    assert change.A.dtype == torch.float32
    assert torch.equal(change.A, change.A.bfloat16().float())
