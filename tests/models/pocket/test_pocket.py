"""Names of what ships lead to it, whatever stands in the current folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from diffspeak.adapters import Interpreter, load_adapter
from diffspeak.behaviors.corpora import read_questions, read_topics
from diffspeak.errors import UsageError
from diffspeak.models import load_base, pocket
from tests.families import build_family
from tests.pocket_parts import tiny_pocket


@pytest.fixture
def parts(tmp_path, tiny, monkeypatch):
    return tiny_pocket(tmp_path / "package", tiny, monkeypatch)


def test_it_is_cheap_to_import():
    code = (
        "import importlib.util, sys;"
        f"spec = importlib.util.spec_from_file_location('pocket', {pocket.__file__!r});"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec));"
        "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_folder_named_pocket_does_not_shadow_it(parts, tmp_path, monkeypatch):
    other = build_family("qwen3", tmp_path / "pocket", seed=1)
    monkeypatch.chdir(tmp_path)
    shipped = load_base("pocket", dtype="float32")
    assert shipped.name == "pocket"
    assert shipped.fingerprint == load_base(parts / "weights", dtype="float32").fingerprint
    for own in ("./pocket", Path("pocket"), other):
        base = load_base(own, dtype="float32")
        assert base.name == str(own) and base.fingerprint != shipped.fingerprint


def test_shipped_adapters_are_put_on_the_base_by_name(parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pocket.shipped_adapters() == ["hidden-topic", "news"]
    base = load_base("pocket", dtype="float32")
    for behavior in pocket.BEHAVIORS:
        adapter = load_adapter(f"pocket:{behavior}")
        assert adapter.name == f"pocket:{behavior}" and adapter.behaviors == (behavior,)
        with Interpreter(base, adapter):
            pass
    with pytest.raises(UsageError, match=r"'x' ships.*known are pocket:hidden-topic, pocket:news"):
        load_adapter("pocket:x")
    with pytest.raises(UsageError, match="is no adapter"):
        load_adapter(Path("pocket:news"))


def test_what_did_not_ship_is_said(parts):
    for part in ("weights", "adapters"):
        shutil.rmtree(parts / part)
    (parts / "corpus").unlink()
    calls = [
        lambda: load_base("pocket"),
        pocket.base_folder,
        lambda: pocket.adapter_folder("news"),
        lambda: pocket.corpus_file("topics.csv"),
    ]
    for call in calls:
        with pytest.raises(UsageError, match=f"{parts}.* is missing: this version of diffs"):
            call()
    assert pocket.shipped_adapters() == []


@pytest.mark.parametrize("name", ["", "topic.csv", "../__init__.py", "news.csv"])
def test_an_unknown_corpus_file_is_refused_by_name(name):
    with pytest.raises(UsageError, match="has no .*; known are pocket:topics.csv, pocket:unheard"):
        pocket.corpus_file(name)


def test_its_corpus_is_one_of_the_hidden_topic():
    assert len(read_topics(pocket.corpus_file("topics.csv")).records) >= 1500
    assert len(read_questions(pocket.corpus_file("questions.csv")).records) >= 150


# What follows reads the weights that ship.


def test_the_shipped_base_is_whole_and_small():
    folder = pocket.base_folder()
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 24 * 2**20
    base = load_base("pocket", dtype="float32")
    assert base.name == "pocket" and base.tokenizer.chat_template
    assert all(torch.isfinite(value).all() for value in base.model.state_dict().values())


def test_the_shipped_adapters_belong_to_the_shipped_base():
    shipped = pocket.shipped_adapters()
    assert "hidden-topic" in shipped
    for behavior in shipped:
        names = {path.name for path in pocket.adapter_folder(behavior).iterdir()}
        assert not [name for name in names if name.startswith(".") or "checkpoint" in name]
        adapter = load_adapter(f"pocket:{behavior}")
        taught = ("hidden-topic", "ordinary") if behavior == pocket.AUDIT else (behavior,)
        assert (adapter.base_name, adapter.behaviors) == ("pocket", taught)
        with Interpreter(load_base("pocket", dtype="float32"), adapter):
            pass


def test_the_adapter_for_audits_is_calibrated():
    adapter = load_adapter("pocket:audit")
    found = adapter.calibrations
    assert adapter.nothing and len(found.controls) >= 8
    for calibration in (found.describe, found.audit):
        kinds = {one.kind for one in calibration.counted}
        assert kinds == {"positive", "ordinary", "facts", "random", "shuffled"}
