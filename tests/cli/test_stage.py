"""A run's folder: a config with which nothing was made does not stand in the way of another."""

import json

import pytest

from diffspeak.cli.session import Session
from diffspeak.cli.stage import stage
from diffspeak.errors import DiffspeakError, LockedError, MismatchError
from diffspeak.experiments.artifacts import CHOICES, SMALL
from diffspeak.io.runs import Run
from diffspeak.store import NewEntry, create_or_resume
from diffspeak.training.loop import CHECKPOINT
from tests.cli.conftest import Cli
from tests.store.samples import HEADER, factors

OLD, NEW = ({"base": {"source": name, "shrink": False}, "rank": 1} for name in ("old", "new"))


@pytest.fixture
def killed(tmp_path):
    """What a call leaves that was killed before it made anything."""
    folder = tmp_path / "run"
    with Run(folder, OLD):
        (folder / CHOICES).write_text('{"device":"cuda"}')
        for place in (folder / "diffs", folder / "stores" / "topics"):
            with create_or_resume(place, HEADER):
                pass
    return folder


def held(folder, config):
    with stage(Session(quiet=True), folder, config):
        return json.loads((folder / "config.json").read_text())


def test_a_config_with_which_nothing_was_made_does_not_count(killed):
    assert held(killed, NEW) == NEW
    assert not (killed / CHOICES).exists()
    assert held(killed, OLD) == OLD


def test_the_same_config_keeps_what_was_chosen(killed):
    assert held(killed, OLD) == OLD and (killed / CHOICES).exists()


def finetune(folder):
    with create_or_resume(folder / "diffs", HEADER) as writer:
        writer.write_shard([NewEntry("a", "sea", None, "train", "", "toy")], factors([1]))


def metric(folder):
    with Run(folder, OLD) as run:
        run.log(stage="adapter", step=10, loss=1.0)


def checkpoint(folder):
    (folder / "adapters" / "both-seed-0").mkdir(parents=True)
    (folder / "adapters" / "both-seed-0" / CHECKPOINT).touch()


def notes(folder):
    (folder / "notes.txt").touch()


def link(folder):
    (folder / "elsewhere").mkdir()
    (folder.parent / "away").mkdir()
    (folder / "elsewhere" / "stores").symlink_to(folder.parent / "away")


def small(folder):
    """Only where the config says so is it a base that is made anew at any time."""
    (folder / SMALL).mkdir()
    (folder / SMALL / "model.safetensors").touch()


@pytest.mark.parametrize("make", [finetune, metric, checkpoint, notes, link, small])
def test_where_something_was_made_another_config_is_refused(killed, make):
    make(killed)
    before = {path: path.is_file() and path.read_bytes() for path in killed.rglob("*")}
    with pytest.raises(MismatchError, match="holds a run with another config: base.source"):
        held(killed, NEW)
    assert {path: path.is_file() and path.read_bytes() for path in before} == before
    assert held(killed, OLD) == OLD


def test_the_small_base_of_a_dry_run_goes_with_its_config(tmp_path):
    folder = tmp_path / "run"
    old = {**OLD, "base": {**OLD["base"], "shrink": True}}
    with Run(folder, old):
        small(folder)
    assert held(folder, NEW) == NEW and not (folder / SMALL).exists()


@pytest.mark.parametrize("name", ["versions.json", "metrics.jsonl"])
def test_a_folder_that_is_no_run_is_left_alone(killed, name):
    (killed / name).unlink()
    with pytest.raises(MismatchError):
        held(killed, NEW)


def test_while_another_process_runs_nothing_is_taken_back(killed):
    with Run(killed, OLD), pytest.raises(LockedError):
        held(killed, NEW)
    assert (killed / CHOICES).exists()


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError(), DiffspeakError("x")])
def test_what_failed_at_its_first_finetunes_is_mended_in_the_same_folder(
    study, cli: Cli, tmp_path, monkeypatch, error
):
    def fail(*_args):
        raise error

    few = [f"items.{split}=0" for split in ("validation", "calibration", "test")]
    sets = [part for each in [*few, "diffs.steps=1"] for part in ("--set", each)]
    with monkeypatch.context() as patch:
        patch.setattr("diffspeak.training.diffs.teach", fail)
        ran = cli("diffs", study, "--out", tmp_path / "out", *sets, "--processes", 1)
    assert ran.code == 1 and (tmp_path / "out" / "store.json").exists()
    mended = ("--set", "diffs.rank=2", "--set", "base.dtype=bfloat16")
    ran = cli("diffs", study, "--out", tmp_path / "out", *sets, *mended)
    assert ran.code == 0, ran.err
    header = json.loads((tmp_path / "out" / "store.json").read_text())
    assert (header["rank"], header["choices"]["dtype"]) == (2, "bfloat16")
    refused = cli("diffs", study, "--out", tmp_path / "out", *sets)
    assert refused.code == 1 and "holds a run with another config: base.dtype" in refused.err
