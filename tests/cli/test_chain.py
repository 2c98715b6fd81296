"""diffs, adapter, describe, show: the whole chain on the tiny Qwen3."""

import json
import shutil

import pytest

from diffspeak.adapters import Interpreter, load_adapter
from diffspeak.finetunes import from_store, write_peft
from diffspeak.models import Decoding, load_base
from diffspeak.store import open_store
from tests.cli.conftest import Cli, Made

RUN_FILES = {"config.json", "versions.json", "metrics.jsonl", "loss.png"}


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_what_each_verb_leaves_behind(made: Made):
    assert names(made.store) >= RUN_FILES | {"store.json", "choices.json", "shard-00000.jsonl"}
    assert names(made.adapter) >= RUN_FILES | {"diffspeak.json", "adapter_model.safetensors"}
    config = json.loads((made.store / "config.json").read_text())
    assert config["diffs"]["steps"] == 3 and config["diffs"]["rank"] == 1
    assert config["behavior"]["topics"] == str(made.config.with_name("topics.csv"))
    config = json.loads((made.adapter / "config.json").read_text())
    assert config["adapter"]["rank"] == 2 and config["stores"] == [str(made.store)]


def test_the_same_command_again_changes_nothing(made: Made, cli: Cli, tmp_path):
    store = shutil.copytree(made.store, tmp_path / "store")
    before = {path.name: path.read_bytes() for path in store.glob("s*")}
    ran = cli("diffs", made.config, "--out", store, "--quiet")
    assert (ran.code, ran.err) == (0, "") and "10 finetunes" in ran.out
    assert {path.name: path.read_bytes() for path in store.glob("s*")} == before
    assert cli("adapter", made.config, "--store", made.store, "--out", made.adapter).code == 0


def test_another_config_in_the_same_folder_is_refused_by_name(made: Made, cli: Cli):
    ran = cli("diffs", made.config, "--out", made.store, "--set", "diffs.steps=4")
    assert ran.code == 1 and "diffs.steps (3 there, 4 now)" in ran.err
    ran = cli("adapter", made.config, "--store", made.store, "--out", made.store)
    assert ran.code == 1 and "holds a run with another config" in ran.err


def test_a_store_grows_with_more_items(study, cli: Cli, tmp_path):
    store, few = tmp_path / "store", ("--set", "items.train=2", "--set", "items.test=0")
    assert cli("diffs", study, "--out", store, *few).code == 0
    first = open_store(store).entries
    assert cli("diffs", study, "--out", store, "--set", "items.test=1").code == 0
    assert [e.id for e in open_store(store).entries][: len(first)] == [e.id for e in first]
    assert len(open_store(store)) > len(first)
    assert json.loads((store / "config.json").read_text())["items"]["test"] == 1


def test_set_is_stronger_than_the_file(study, cli: Cli, tmp_path):
    args = ("--set", "diffs.steps=1", "--set", "items.test=1", "--set", "items.train=2")
    more = ("--set", "items.validation=0", "--set", "items.calibration=0")
    ran = cli("diffs", study, "--out", tmp_path / "store", *args, *more)
    assert ran.code == 0 and "3 finetunes" in ran.out
    assert "diffs: 3/3 finetunes" in ran.err and "\x1b" not in ran.err
    splits = [entry.split for entry in open_store(tmp_path / "store").entries]
    assert splits == ["train", "train", "test"]


def test_descriptions_are_those_of_the_interpreter(made: Made, cli: Cli, tiny):
    ran = cli("describe", made.store, "--adapter", made.adapter, "--tokens", 5, "--json")
    assert ran.code == 0
    told = [json.loads(line) for line in ran.out.splitlines()]
    store = open_store(made.store)
    finetunes = [from_store(store, entry) for entry in store.entries]
    base = load_base(tiny, dtype="float32")
    with Interpreter(base, load_adapter(made.adapter)) as interpreter:
        right = interpreter.describe(finetunes, decoding=Decoding(5))
    assert [one["description"] for one in told] == [one.text for one in right]
    assert [one["mean_logprob"] for one in told] == pytest.approx([o.mean_logprob for o in right])
    assert [one["lift"] for one in told] == pytest.approx([o.lift for o in right], abs=1e-5)
    assert [one["label"] for one in told] == [entry.label for entry in store.entries]


def test_a_table_for_people(made: Made, cli: Cli):
    ran = cli("describe", made.store, "--adapter", made.adapter, "--split", "test", "--tokens", 3)
    assert ran.code == 0 and "\x1b" not in ran.out
    header, *lines = ran.out.splitlines()
    assert header.split() == ["finetune", "description", "logprob", "lift", "label"]
    assert sum("Subject" in line for line in lines) == 4
    assert "of 4 named exactly" in lines[-1] and max(map(len, ran.out.splitlines())) <= 80


def test_sampled_descriptions_depend_on_seed_and_finetune_alone(made: Made, cli: Cli):
    id = open_store(made.store).entries[2].id
    common = ("--adapter", made.adapter, "--temperature", 2, "--tokens", 5, "--json")
    all_of_them = cli("describe", made.store, *common, "--seed", 1).out.splitlines()
    alone = cli("describe", f"{made.store}#{id}", *common, "--seed", 1).out
    other = cli("describe", f"{made.store}#{id}", *common, "--seed", 2).out
    assert json.loads(all_of_them[2])["description"] == json.loads(alone)["description"]
    assert json.loads(alone)["description"] != json.loads(other)["description"]


def test_a_peft_folder_is_described_with_a_question(made: Made, cli: Cli, tmp_path, tiny):
    store = open_store(made.store)
    folder = tmp_path / "lora"
    folder.mkdir()
    write_peft(folder, store.read(store.entries[0].id), str(tiny))
    common = ("--adapter", made.adapter, "--base", tiny, "--tokens", 3)
    ran = cli("describe", folder, *common, "--question", "What is it?", "--json")
    (told,) = map(json.loads, ran.out.splitlines())
    assert told["question"] == "What is it?" and told["label"] is None
    ran = cli("describe", folder, *common, "--split", "test")
    assert ran.code == 2 and "is one finetune" in ran.err
    assert "PEFT LoRA" in cli("show", folder).out


def test_a_whole_study_in_one_command(study, cli: Cli, tmp_path):
    out = tmp_path / "run"
    small = ("--set", "diffs.steps=1", "--set", "diffs.probes=1", "--set", "adapter.validation=1")
    ran = cli("run", study, "--out", out, "--quiet", *small)
    assert ran.code == 0, ran.err
    assert names(out) >= RUN_FILES | {"diffs", "adapter", "results.md"}
    shown = json.loads(cli("show", out, "--json").out)
    assert shown["kind"] == "run" and shown["config"]["diffs"]["steps"] == 1
    assert {one["folder"]: one["what"] for one in shown["made"]}["diffs"] == "store"
    assert {one["stage"] for one in shown["metrics"]} >= {"diffs", "adapter"}
