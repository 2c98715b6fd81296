"""describe with adapters of the hub: one of ours, and a LoRA of others as a single file."""

import io
import json
import shutil

import pytest
import torch

from diffspeak.adapter import load_adapter
from tests.cli.conftest import Cli, Made
from tests.hub import empty_hub, put

FILE = "hidden-topic/tiny/dit-adapter.pt"


@pytest.fixture
def hub(made: Made, tmp_path, monkeypatch):
    """The small study's adapter, as we write it and as the paper published its own."""
    add = empty_hub(tmp_path / "hub", monkeypatch)
    shutil.copytree(made.adapter, add("org/dit"), dirs_exist_ok=True)
    adapter, file = load_adapter(made.adapter), io.BytesIO()
    content = {
        name: (change.B * change.scaling * change.rank, change.A)
        for name, change in adapter.diff.items()
    }
    torch.save(content, file)
    put(add("org/loras"), FILE, file.getvalue())
    return adapter


def told(ran):
    assert ran.code == 0, ran.err
    return [json.loads(line)["description"] for line in ran.out.splitlines()]


def test_adapters_of_the_hub_say_what_they_say_here(hub, made: Made, cli: Cli, tiny):
    common = ("describe", made.store, "--tokens", 6, "--json")
    here = told(cli(*common, "--adapter", made.adapter))
    assert told(cli(*common, "--adapter", "org/dit")) == here
    said = ("--base", tiny, "--question", hub.questions[0])
    assert told(cli(*common, "--adapter", f"org/loras:{FILE}", *said)) == here


@pytest.mark.parametrize("question", ["", " ", "\n"])
@pytest.mark.parametrize("adapter", ["ours", f"org/loras:{FILE}"])
def test_a_blank_question_is_refused_before_anything_is_loaded(
    hub, made: Made, cli: Cli, tiny, monkeypatch, adapter, question
):
    monkeypatch.setattr("diffspeak.models.load_base", None)
    adapter = made.adapter if adapter == "ours" else adapter
    ran = cli("describe", made.store, "--adapter", adapter, "--base", tiny, "--question", question)
    assert ran.code == 2 and ran.out == ""
    assert ran.err == "diffspeak: --question is empty: ask something, or leave it out\n"


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (f"org/loras:{FILE}", "say with --base and --question of what"),
        ("org/loras:hidden-topic", "say with --base and --question of what"),
        ("org/loras:no.pt", "could not be fetched from the hub"),
        ("org/nowhere", "could not be fetched from the hub"),
        ("nowhere", "nowhere is no adapter: there is no such folder"),
    ],
)
def test_what_is_no_adapter(hub, made: Made, cli: Cli, adapter, said):
    ran = cli("describe", made.store, "--adapter", adapter)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1 and ran.out == ""
