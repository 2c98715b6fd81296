"""A base that an adapter names may be a stranger's path, or in four bits: the cure is `--base`."""

import pytest

from diffspeak.errors import UsageError
from diffspeak.finetunes import load_finetune
from diffspeak.finetunes.named_bases import load_named, other_base, unquantized
from tests.finetunes.strangers import base_of, reconfig, write_lora, write_model


@pytest.mark.parametrize(
    "named",
    [
        "/data/models/Qwen3-4B",
        "../../Llama2-7b-chat/",
        "~/models/x",
        r"C:\Users\me\models\TinyLlama",
        "models/checkpoints/qwen",
    ],
)
def test_a_path_of_another_machine(named):
    with pytest.raises(UsageError, match=r"a path of the machine it was trained on: give it with"):
        load_named(named, "my-lora")


@pytest.mark.parametrize(
    "named, plain",
    [
        ("unsloth/Qwen3-4B-unsloth-bnb-4bit", "unsloth/Qwen3-4B"),
        ("unsloth/llama-3-8b-bnb-4bit", "unsloth/llama-3-8b"),
        ("mlx-community/Qwen3-4B-4bit", "mlx-community/Qwen3-4B"),
        ("Qwen/Qwen3-4B", None),
    ],
)
def test_what_a_copy_in_few_bits_is_of(named, plain):
    assert unquantized(named) == plain
    with pytest.raises(
        UsageError, match=rf"names its base {named}.*give {plain or 'it'} with --base"
    ):
        load_named(named, "my-lora")


def test_a_base_that_is_there_is_loaded(tmp_path):
    model = write_model("llama", tmp_path / "base")
    assert load_named(str(model), "my-lora", device="cpu").name == str(model)


def test_the_user_is_told_of_another_base(tmp_path):
    model = write_model("llama", tmp_path / "Base-7B")
    folder = write_lora(model, tmp_path / "lora")
    base = base_of(model)
    for same in (str(model), "org/base-7b", "/elsewhere/Base-7B/", "org/Base-7B-bnb-4bit", None):
        reconfig(folder, base_model_name_or_path=same)
        assert load_finetune(folder, base).notes == ()
    reconfig(folder, base_model_name_or_path="org/another-7b")
    (note,) = load_finetune(folder, base).notes
    assert note == f"its config names the base org/another-7b, and {model} is used"


def test_a_hubs_own_folder_is_the_base_it_is_of(tmp_path):
    model = write_model("llama", tmp_path / "models--org--base" / "snapshots" / "abc")
    assert other_base({"base_model_name_or_path": "org/base"}, base_of(model)) == []
