"""What `show` tells of each kind of thing."""

import json
import shutil

import pytest
import torch

from diffspeak.store import NewEntry, StoreHeader, create_or_resume, open_store
from tests.cli.conftest import Cli, Made

NOTHING = "does not exist: a store, STORE#ID, adapter, run or model is expected"


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (
            "store",
            ["kind         store", "trigger    sep-code", "train           3", "lora"]
            + ["fires_near_miss", "first entries", "Subject J", "metrics", "versions"],
        ),
        ("entry", ["store entry", "label        Subject", "verified  yes", "fires_plain"]),
        ("adapter", ["hidden-topic", "results", "validation_exact", "What topic have you been"]),
        ("model", ["Qwen3ForCausalLM 3x32", "parameters     46912", "q_proj     3"]),
    ],
)
def test_the_facts_of_everything_fit_80_columns(made: Made, cli: Cli, tiny, what, told):
    id = open_store(made.store).entries[0].id
    entry = f"{made.store}#{id}"
    source = {"store": made.store, "entry": entry, "adapter": made.adapter, "model": tiny}[what]
    ran = cli("show", source)
    assert ran.code == 0, ran.err
    assert not [text for text in told if text not in ran.out], ran.out
    assert "\x1b" not in ran.out and max(map(len, ran.out.splitlines())) <= 80
    facts = json.loads(cli("show", source, "--json").out)
    assert facts["kind"].endswith(what)


def test_counts_and_means_are_those_of_the_entries(made: Made, cli: Cli):
    facts = json.loads(cli("show", made.store, "--json").out)
    entries = open_store(made.store).entries
    assert facts["finetunes"] == len(entries) == sum(row["lora"] for row in facts["by split"])
    losses = [entry.stats["loss"] for entry in entries]
    assert facts["mean"]["loss"] == pytest.approx(sum(losses) / len(losses))
    assert facts["metrics"][0]["stage"] == "diffs" and facts["failures"] == []


def test_failures_and_odd_labels_are_shown_safely(made: Made, cli: Cli, tmp_path):
    header = open_store(made.store).header
    odd = "\U0001f469\u200d\U0001f680 [red]\u202e\x1b[31m \u05e9\u05dc\u05d5\u05dd"
    entries = [
        NewEntry("odd", odd, "\u200b", "train", "", "hidden-topic", None, {"loss": 1.0}),
        NewEntry("bad", "x", "317", "train", "", "hidden-topic", "the loss was not finite"),
    ]
    small = StoreHeader(header.behavior, header.base, ("x",), 1, 1.0, "float32", {})
    with create_or_resume(tmp_path / "odd", small) as writer:
        writer.write_shard(entries, {"x": (torch.zeros(2, 1, 3), torch.zeros(2, 3, 1))})
    out = cli("show", tmp_path / "odd").out
    assert "failures" in out and "the loss was not finite" in out and "\\u200b" in out
    assert "\U0001f469\u200d\U0001f680 [red]\\u202e\\x1b[31m \u05e9\u05dc\u05d5\u05dd" in (
        " ".join(out.split())
    )
    facts = json.loads(cli("show", tmp_path / "odd", "--json").out)
    assert facts["failed"] == 1 and facts["first entries"][0]["label"] == odd
    ran = cli("describe", f"{tmp_path / 'odd'}#bad", "--adapter", made.adapter)
    assert ran.code == 2 and "its training failed" in ran.err


def test_what_is_nothing_known(cli: Cli, tmp_path):
    (tmp_path / "file").touch()
    assert "is a file; give its folder" in cli("show", tmp_path / "file").err
    assert "is nothing that diffspeak knows" in cli("show", tmp_path).err


@pytest.mark.parametrize(
    ("source", "describe", "fetch"),
    [
        ("org/lora", "org/lora", "org/lora"),
        ("org/lora@v2:deep", "org/lora@v2:deep", "org/lora@v2:deep"),
        ("org/loras:deep/a.pt#a b", "'org/loras:deep/a.pt#a b'", "org/loras:deep/a.pt"),
    ],
)
def test_a_hub_id_is_not_shown_but_told_what_to_do_with(
    cli: Cli, tmp_path, monkeypatch, source, describe, fetch
):
    monkeypatch.chdir(tmp_path)
    ran = cli("show", source)
    assert ran.code == 2 and ran.out == ""
    assert ran.err == (
        f"diffspeak: {source} {NOTHING}; if it is a hub id, give `diffspeak describe {describe}`, "
        f"or `diffspeak fetch {fetch}` and show the folder that it names\n"
    )


@pytest.mark.parametrize("source", ["none", "./org/lora", "a/b/c", "/a/b"])
def test_what_is_no_hub_id_is_not_told_of_the_hub(cli: Cli, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    ran = cli("show", source)
    assert ran.code == 2 and ran.err == f"diffspeak: {source} {NOTHING}\n"


def test_a_folder_that_is_named_like_a_hub_id_is_shown(made: Made, cli: Cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.store, "org/store")
    assert json.loads(cli("show", "org/store", "--json").out)["kind"] == "store"


def test_a_run_that_made_nothing_yet_is_shown(made: Made, cli: Cli, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.json", "versions.json", "metrics.jsonl"):
        shutil.copy(made.adapter / name, run)
    facts = json.loads(cli("show", run, "--json").out)
    assert facts["kind"] == "run" and facts["made"] == []
