"""The exported base is an ordinary Hugging Face folder, and what its card says runs."""

import re

import pytest
import torch
from transformers import AutoModelForCausalLM

from diffspeak.errors import UsageError
from diffspeak.models import load_base
from diffspeak.models.pocket import export_base
from tests.pocket_parts import tiny_pocket


@pytest.fixture(autouse=True)
def parts(tmp_path, tiny, monkeypatch):
    return tiny_pocket(tmp_path / "package", tiny, monkeypatch)


def test_transformers_loads_it_without_us(tmp_path):
    folder = tmp_path / "made" / "here"
    export_base(folder)
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
    }
    assert not [name for name in names if name.startswith(".")]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    shipped = load_base("pocket", dtype="float32")
    ids = torch.tensor([[3, 5, 7]])
    assert torch.equal(model(ids).logits, shipped.model(ids).logits)
    assert load_base(folder, dtype="float32").fingerprint == shipped.fingerprint


def test_the_cards_example_runs(tmp_path, capsys):
    export_base(tmp_path / "made")
    card = (tmp_path / "made" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(code.replace("path/of/this/folder", str(tmp_path / "made")), {})
    assert capsys.readouterr().out.strip()


def test_only_an_empty_folder_is_written(tmp_path):
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "own").touch()
    with pytest.raises(UsageError, match="taken is not empty: give a new folder"):
        export_base(folder)
    with pytest.raises(UsageError, match="stands where a folder was expected"):
        export_base(folder / "own")
    assert [path.name for path in folder.iterdir()] == ["own"]


def test_one_that_was_begun_is_completed_and_one_that_was_changed_is_not(tmp_path):
    folder = tmp_path / "made"
    export_base(folder)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "config.json").unlink()
    export_base(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    (folder / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="is not empty"):
        export_base(folder)
