"""weight-to-text: trained by one command, gone on with, and what it reads."""

import json
import re
import shutil

import pytest

from diffspeak.cli.reporter import TerminalReporter
from diffspeak.cli.weight_to_text import HELP
from diffspeak.finetunes import from_store
from diffspeak.io.files import canonical_json, sha256
from diffspeak.methods.weight_to_text import (
    WeightToText,
    WeightToTextConfig,
    load_projection,
)
from diffspeak.methods.weight_to_text.saved import CARD, WEIGHTS
from diffspeak.models import Decoding, load_base
from diffspeak.store import open_store
from diffspeak.text.mentions import same
from tests.cli.conftest import Cli, Made
from tests.finetunes.variants import make

SMALL = {"epochs": 6, "batch": 2, "tokens": 2, "answer_tokens": 3, "save_every": 2, "rank": 2}
SETS = [part for key, value in SMALL.items() for part in ("--set", f"{key}={value}")]
VERB = "weight-to-text"


@pytest.fixture(scope="session")
def trained(made: Made, tmp_path_factory):
    """A projection, and what the command said when it was made."""
    from diffspeak.cli import main

    folder = tmp_path_factory.mktemp("trained") / "projection"
    assert main([VERB, str(made.store), "--out", str(folder), "--quiet", *SETS]) == 0
    return folder


def test_it_says_how_many_it_names_and_keeps_its_settings(made: Made, cli: Cli, trained):
    ran = cli(VERB, made.store, "--out", trained, *SETS)
    assert ran.code == 0, ran.err
    projection = load_projection(trained)
    assert projection.config == WeightToTextConfig(**SMALL)
    results = projection.results
    splits = [entry.split for entry in open_store(made.store).entries]
    said = [
        f"{round(results[f'{split}_exact'] * splits.count(split))} of {splits.count(split)} {kind}"
        for split, kind in (("train", "training"), ("validation", "validation"))
    ]
    assert f"{trained} names {said[0]} and {said[1]} finetunes\n" == ran.out
    kept = {path.name for path in trained.iterdir()}
    assert kept >= {CARD, WEIGHTS, "config.json", "metrics.jsonl", "loss.png", "choices.json"}
    config = json.loads((trained / "config.json").read_text())
    assert config["weight_to_text"]["epochs"] == 6 and config["stores"] == [str(made.store)]
    shown = json.loads(cli("show", trained, "--json").out)
    assert (shown["kind"], shown["results"]) == ("projection", results)
    assert shown["training"]["epochs"] == 6 and shown["metrics"][0]["stage"] == VERB


def test_other_settings_in_the_same_folder_are_refused_by_name(made: Made, cli: Cli, trained):
    ran = cli(VERB, made.store, "--out", trained, *SETS, "--set", "epochs=7")
    assert ran.code == 1 and "weight_to_text.epochs (6 there, 7 now)" in ran.err


def test_stopped_and_gone_on_is_uninterrupted(made: Made, cli: Cli, trained, tmp_path, monkeypatch):
    advance, steps = TerminalReporter.advance, []

    def stops(self, count=1, **numbers):
        advance(self, count, **numbers)
        steps.extend([1] * count)
        if len(steps) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TerminalReporter, "advance", stops)
        ran = cli(VERB, made.store, "--out", tmp_path / "cut", *SETS)
    assert ran.code == 130 and "run the same command again" in ran.err
    ran = cli(VERB, made.store, "--projection", tmp_path / "cut")
    assert ran.code == 2 and "no finished projection" in ran.err
    ran = cli(VERB, made.store, "--out", tmp_path / "cut", *SETS)
    assert ran.code == 0 and re.search(r"weight-to-text: \d+/\d+ steps", ran.err)
    assert (tmp_path / "cut" / WEIGHTS).read_bytes() == (trained / WEIGHTS).read_bytes()


def test_it_reads_what_the_method_reads(made: Made, cli: Cli, trained, tiny):
    ran = cli(VERB, made.store, "--projection", trained, "--tokens", 4, "--json")
    assert ran.code == 0, ran.err
    told = [json.loads(line) for line in ran.out.splitlines()]
    store = open_store(made.store)
    base = load_base(tiny, dtype="float32")
    method = WeightToText(base, load_projection(trained, base), Decoding(4))
    right = method.guess([from_store(store, entry) for entry in store.entries])
    assert [one["description"] for one in told] == [guess.text for guess in right]
    assert [f"{one['mean_logprob']:.2f} nats/token" for one in told] == [
        guess.evidence[0] for guess in right
    ]
    assert [one["label"] for one in told] == [entry.label for entry in store.entries]


def test_a_table_for_people(made: Made, cli: Cli, trained):
    ran = cli(VERB, made.store, "--split", "test", "--projection", trained, "--tokens", 3)
    assert ran.code == 0, ran.err
    header, *lines = ran.out.splitlines()
    assert header.split() == ["finetune", "description", "logprob", "label"]
    assert sum("Subject" in line for line in lines) == 4 and "of 4 named exactly" in lines[-1]


def test_any_low_rank_finetune_is_read_and_several_at_once(
    made: Made, cli: Cli, trained, tmp_path, tiny
):
    one = f"{made.store}#{open_store(made.store).entries[0].id}"
    assert cli("convert", one, tmp_path / "peft", "--to", "peft").code == 0
    assert cli("convert", one, tmp_path / "whole", "--merge").code == 0
    common = ("--projection", trained, "--tokens", 3, "--json")
    first, second = cli(VERB, one, tmp_path / "peft", *common).out.splitlines()
    assert json.loads(first)["description"] == json.loads(second)["description"]
    assert json.loads(second)["label"] is None
    ran = cli(VERB, tmp_path / "whole", *common, "--low-rank", 1)
    assert ran.code == 0 and same(
        json.loads(ran.out)["description"], json.loads(first)["description"]
    )
    for whole in (tmp_path / "whole", make("DoRA", tiny, tmp_path / "dora")):
        ran = cli(VERB, whole, *common, "--quiet")
        assert ran.code == 2 and "is whole: open a full checkpoint by its best" in ran.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "say either --out FOLDER, to train"),
        (("--out", "new", "--projection", "old"), "say either --out FOLDER, to train"),
        (("--out", "new", "--limit", "2"), "--limit is for --projection: leave it out"),
        (("--out", "new", "--low-rank", "2"), "--low-rank is for --projection: leave it out"),
        (("--out", "new", "--json"), "--json is for --projection: leave it out"),
        (("--projection", "old", "--set", "epochs=2"), "--set is for --out: leave it out"),
        (("--projection", "old"), "old does not exist; give what `diffspeak weight-to-text`"),
        (("--out", "new", "--set", "epochs"), "--set epochs: expected key=value"),
        (("--out", "new", "--set", "epoch=2"), "--set: epoch: unknown; did you mean 'epochs'?"),
        (
            ("--out", "new", "--set", "rank=0", "--set", "projection=flat"),
            "--set: projection: 'flat' is unknown; known are linear, mlp; rank: expected greater",
        ),
        (("--out", "new", "--dtype", "float8"), "the base: dtype: 'float8' is unknown"),
        (("--out", "new", "--base", "/no/base"), "base /no/base does not exist; give a hub id"),
    ],
)
def test_what_cannot_be(made: Made, cli: Cli, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    ran = cli(VERB, made.store, *args)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1 and ran.out == ""
    assert not list(tmp_path.iterdir())


def test_what_is_no_store_and_another_base(made: Made, cli: Cli, tmp_path, trained):
    ran = cli(VERB, made.adapter, "--out", tmp_path / "new", "--quiet")
    assert ran.code == 2 and ran.err.count("\n") == 1 and not (tmp_path / "new").exists()
    ran = cli(VERB, made.store, "--out", tmp_path / "new", "--base", "pocket", "--quiet", *SETS)
    assert ran.code == 1 and "was made for another base" in ran.err
    ran = cli(VERB, made.store, "--projection", trained, "--base", "pocket", "--quiet")
    assert ran.code == 1 and "was made for another base" in ran.err and ran.out == ""


def test_the_projections_base_is_gone(made: Made, cli: Cli, tmp_path, trained, tiny):
    folder = shutil.copytree(trained, tmp_path / "projection")
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"base_name": str(tmp_path / "gone")}))
    ran = cli(VERB, made.store, "--projection", folder)
    assert ran.code == 2 and "say where it is now with --base" in ran.err
    args = ("--projection", folder, "--base", tiny, "--limit", 1, "--tokens", 1)
    assert cli(VERB, made.store, *args).code == 0


def test_the_stores_base_is_gone(made: Made, cli: Cli, tmp_path):
    store = shutil.copytree(made.store, tmp_path / "store")
    header = json.loads((store / "store.json").read_text())
    del header["checksum"]
    header["base"]["name"] = str(tmp_path / "gone")
    header["checksum"] = sha256(canonical_json(header).encode())
    (store / "store.json").write_text(canonical_json(header) + "\n")
    ran = cli(VERB, store, "--out", tmp_path / "new", *SETS)
    assert ran.code == 2 and "gone is not there: say where it is now with --base" in ran.err


def test_the_help_knows_every_setting_and_its_default():
    block = HELP.partition("by default:\n")[2].partition("\n\n")[0]
    told = {}
    for line in block.splitlines():
        for name in re.split(r"\s{2,}", line.strip())[0].split(", "):
            key, _, value = name.partition("=")
            told[key] = value
    # What has no default that fits into a word is named without one.
    bare = {"rank", "max_finetunes", "prefix", "suffix"}
    fields = WeightToTextConfig.model_fields
    assert told == {key: "" if key in bare else str(f.default) for key, f in fields.items()}
