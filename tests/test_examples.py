"""The examples do what they say."""

import runpy
from pathlib import Path

import pytest

from tests.cli.conftest import write_study
from tests.finetunes.variants import make

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


@pytest.mark.slow
def test_a_new_behavior_is_learned_by_the_pocket_base():
    rates = example("new_behavior")("pocket")
    assert sum(rates.values()) / len(rates) >= 0.75


def test_an_adapter_for_ones_own_base_then_a_peft_adapter_described(tiny, tmp_path, capsys):
    config = write_study(tmp_path / "study", tiny)
    few = ("items.train=2", "items.test=2")
    told = example("train_adapter")(str(config), str(tmp_path / "out"), *few)
    assert len(told) == 2
    lora = make("LoRA", tiny, tmp_path / "lora")
    text = example("describe_peft")(lora, str(tmp_path / "out" / "adapter"), str(tiny))
    assert text in capsys.readouterr().out
