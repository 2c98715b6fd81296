"""Dry runs: every recipe of the paper goes through all stages on a small random model."""

import json
from pathlib import Path

import pytest

from diffspeak.experiments.read import load_config
from diffspeak.experiments.run import run_experiments
from diffspeak.progress import Silent

PAPER = sorted(Path("configs/paper").glob("*.toml"))


def test_there_are_all_ten():
    bases = {"qwen3-1.7b", "qwen3-4b", "qwen3-8b", "gemma3-1b", "gemma3-4b"}
    assert {path.stem for path in PAPER} == {
        f"{base}-{behavior}" for base in bases for behavior in ("hidden-topic", "news")
    }


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_every_recipe_of_the_paper_goes_through_dry(path, tmp_path):
    config = load_config(path, ["base.dtype=float32", "evaluate.controls=false"], shrink=True)
    (page,) = run_experiments([config], tmp_path, Silent())
    values = {
        row["name"]: row["value"]
        for row in json.loads(page.with_suffix(".json").read_text())["rows"]
    }
    assert (values["finetunes, train"], values["finetunes, test"]) == (4, 2)
    assert "DIT names it exactly" in values
    kind = json.loads((tmp_path / "base" / "config.json").read_text())["architectures"]
    multimodal = path.stem.startswith("gemma3-4b")
    family = "Gemma3ForConditionalGeneration" if multimodal else "Gemma3ForCausalLM"
    assert kind == [family if "gemma" in path.stem else "Qwen3ForCausalLM"]


def test_settings_are_stronger_than_shrinking_and_the_rest_stays():
    path = Path("configs/paper/qwen3-8b-hidden-topic.toml")
    small = load_config(path, ["items.train=6"], shrink=True)
    whole = load_config(path, corpora=False)
    assert (small.items.train, whole.items.train) == (6, 4600)
    assert small.diffs.steps == 3 and small.diffs.rank == whole.diffs.rank == 1
    assert small.diffs.weights == whole.diffs.weights
    assert small.adapter.learning_rate == whole.adapter.learning_rate == 1e-4
    assert (small.adapter.batch, whole.adapter.batch) == (2, 4)
    assert small.base.shrink and small.base.source == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("name", ["ordinary", "facts"])
def test_other_behaviors_get_the_pocket_corpora(name, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(f'[base]\nsource = "pocket"\n[behavior]\nname = "{name}"\n')
    behavior = load_config(path, shrink=True).behavior
    assert behavior.questions.is_file() and behavior.topics is None
    assert (behavior.facts is not None) == (name == "facts")


def test_a_config_without_sections_is_shrunk_too(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('[base]\nsource = "pocket"\n[behavior]\nname = "news"\n')
    config = load_config(path, shrink=True)
    assert config.diffs.steps == 3 and config.behavior.headlines.is_file()
