"""The example of docs/how-to/add-a-format.md, once it is in the table, is a format like others."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffspeak.cli.show import facts_of
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes import formats, load_finetune, open_finetune_set, open_source
from tests.toys import base_diff

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "add-a-format.md"


@pytest.fixture
def updown(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "updown.py"
    path.write_text(example)
    spec = importlib.util.spec_from_file_location("updown", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, module.FORMAT))


@pytest.fixture
def folder(base, tmp_path):
    path = tmp_path / "many" / "one"
    path.mkdir(parents=True)
    tensors = {}
    for name, change in base_diff(base, rank=2, seed=3).items():
        tensors[f"{name}.down"] = change.A.contiguous()
        tensors[f"{name}.up"] = (change.B * change.scaling).contiguous()
    save_file(tensors, path / "updown.safetensors")
    return path


def test_without_its_line_it_is_nothing(folder):
    with pytest.raises(UsageError, match="holds no finetune that diffspeak knows"):
        open_source(str(folder))


def test_with_its_line_it_is_opened_everywhere(updown, base, folder, tmp_path):
    wanted = base_diff(base, rank=2, seed=3)
    found = load_finetune(folder, base).diff
    assert found.keys() == wanted.keys()
    for name, change in wanted.items():
        torch.testing.assert_close(found[name].dense(), change.dense())
    (one,) = open_finetune_set(str(tmp_path / "many")).each
    assert one.key == "one" and one.read(base).diff.keys() == wanted.keys()
    with pytest.raises(UsageError, match="holds no finetune itself, but folders in it do: .*/one"):
        open_source(str(tmp_path / "many"))
    assert facts_of(str(folder)) == {"kind": "updown", "source": str(folder)}


def test_a_damaged_one_is_an_error_of_one_line(updown, base, folder):
    path = folder / "updown.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptFileError, match="cannot be read"):
        load_finetune(folder, base)
