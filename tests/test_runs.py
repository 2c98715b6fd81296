"""A run's folder: config, versions, metrics, plot."""

import errno
import json
import logging
import math
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from diffspeak.errors import (
    CorruptFileError,
    DiffspeakError,
    LockedError,
    MismatchError,
    UsageError,
)
from diffspeak.io import runs
from diffspeak.io.runs import Run, plot_losses, read_metrics

CONFIG = {"diffs": {"rank": 1, "targets": ["q", "v"]}, "seed": 0}


def test_a_run_keeps_its_config_its_versions_and_its_metrics(tmp_path):
    with Run(tmp_path / "run", CONFIG) as run:
        run.log(stage="diffs", step=1, loss=2.5, rate=3)
        assert read_metrics(run.folder) == [{"stage": "diffs", "step": 1, "loss": 2.5, "rate": 3}]
    assert json.loads((run.folder / "config.json").read_text()) == CONFIG
    (versions,) = json.loads((run.folder / "versions.json").read_text())
    assert versions == runs.library_versions()
    assert versions["torch"] == version("torch")


def test_the_same_config_goes_on(tmp_path):
    for step in (1, 2):
        with Run(tmp_path, {**CONFIG, "path": ("a",)}) as run:
            run.log(stage="diffs", step=step)
    assert [metric["step"] for metric in read_metrics(tmp_path)] == [1, 2]
    assert len(json.loads((tmp_path / "versions.json").read_text())) == 1


def test_a_free_section_may_change_and_the_latest_is_kept(tmp_path):
    with Run(tmp_path, CONFIG, free=("diffs",)):
        pass
    changed = {**CONFIG, "diffs": {"rank": 7}}
    with Run(tmp_path, changed, free=("diffs",)):
        pass
    assert json.loads((tmp_path / "config.json").read_text())["diffs"] == {"rank": 7}
    with pytest.raises(MismatchError, match="seed"):
        Run(tmp_path, {**changed, "seed": 9}, free=("diffs",)).__enter__()


def test_another_config_is_refused_with_the_keys_that_differ(tmp_path):
    with Run(tmp_path, CONFIG):
        pass
    before = (tmp_path / "config.json").read_bytes()
    other = {"diffs": {"rank": 2, "targets": ["q", "v"]}, "steps": 5}
    with pytest.raises(MismatchError) as caught, Run(tmp_path, other):
        pass
    message = str(caught.value)
    assert "diffs.rank (1 there, 2 now)" in message
    assert "seed (0 there, absent now)" in message
    assert "steps (absent there, 5 now)" in message
    assert "targets" not in message
    assert "another folder" in message
    assert (tmp_path / "config.json").read_bytes() == before
    with Run(tmp_path, CONFIG):
        pass


def test_differences_shorten_long_values_and_tell_null_from_absent():
    assert runs.differences({"a": None}, {}) == ["a (null there, absent now)"]
    (named,) = runs.differences({"a": "x" * 500}, {"a": 1})
    assert len(named) < 100
    assert runs.differences({"a": {"b": 1}}, {"a": {"b": 1}}) == []


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    with Run(tmp_path, CONFIG), pytest.raises(LockedError), Run(tmp_path, CONFIG):
        pass


def test_other_libraries_are_added_and_warned_of(tmp_path, monkeypatch, caplog):
    with Run(tmp_path, CONFIG):
        pass
    now = {**runs.library_versions(), "torch": "9.9"}
    monkeypatch.setattr(runs, "library_versions", lambda: now)
    with caplog.at_level(logging.WARNING), Run(tmp_path, CONFIG):
        pass
    assert "torch" in caplog.text
    assert json.loads((tmp_path / "versions.json").read_text())[1] == now


def test_a_torn_last_line_is_ignored_then_cut_off(tmp_path):
    with Run(tmp_path, CONFIG) as run:
        run.log(stage="diffs", step=1, loss=1.0)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:17])
    assert len(read_metrics(tmp_path)) == 1
    with Run(tmp_path, CONFIG) as run:
        run.log(stage="diffs", step=2, loss=0.5)
    assert [metric["step"] for metric in read_metrics(tmp_path)] == [1, 2]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("line", ["nonsense", "[1]", "{}", '{"stage":"a","step":1,"x":"y"}'])
def test_a_damaged_line_in_the_middle_is_an_error(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(line + '\n{"stage":"a","step":1}\n')
    with pytest.raises(CorruptFileError, match="line 1"):
        read_metrics(tmp_path)


def test_losses_that_are_not_finite_come_back(tmp_path):
    with Run(tmp_path, CONFIG) as run:
        run.log(stage="diffs", step=1, loss=math.nan, low=-math.inf)
    (metric,) = read_metrics(tmp_path)
    assert math.isnan(metric["loss"])
    assert metric["low"] == -math.inf


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Run(tmp_path, CONFIG) as run:
        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(DiffspeakError, match=r"no space.*metrics\.jsonl"):
            run.log(stage="diffs", step=1)


def test_a_line_that_is_torn_while_the_run_lasts_does_not_spoil_the_next(tmp_path):
    with Run(tmp_path, CONFIG) as run:
        assert (tmp_path / "metrics.jsonl").read_bytes() == b""
        run.log(stage="diffs", step=1)
        with (tmp_path / "metrics.jsonl").open("ab") as file:
            file.write(b'{"sta')
        run.log(stage="diffs", step=2)
    assert [metric["step"] for metric in read_metrics(tmp_path)] == [1, 2]


def test_bad_places_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError), Run(tmp_path / "file", CONFIG):
        pass
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CorruptFileError), Run(tmp_path, CONFIG):
        pass
    with pytest.raises(DiffspeakError, match=r"metrics\.jsonl"):
        read_metrics(tmp_path)


def test_the_plot_shows_each_stage_and_series_the_last_value_of_a_step(tmp_path, monkeypatch):
    drawn = {}
    draw = runs._draw

    def spy(axes, stage, series):
        draw(axes, stage, series)
        drawn[stage] = axes

    monkeypatch.setattr(runs, "_draw", spy)
    with Run(tmp_path, CONFIG) as run:
        run.log(stage="diffs", step=1, loss=9.0, seconds=1.0)
        run.log(stage="diffs", step=1, loss=100.0)
        run.log(stage="diffs", step=2, loss=1.0, keep_loss=math.nan)
        run.log(stage="adapter", step=1, validation_loss=0.0)
    picture = plot_losses(tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = {line.get_label(): list(line.get_ydata()) for line in drawn["diffs"].lines}
    assert lines["loss"] == [100.0, 1.0]
    assert set(lines) == {"loss", "keep_loss"}
    assert drawn["diffs"].get_yscale() == "log"
    assert drawn["adapter"].get_yscale() == "linear"
    assert "nats" in drawn["diffs"].get_ylabel()


def test_a_plot_without_losses_is_an_error(tmp_path):
    with Run(tmp_path, CONFIG) as run:
        run.log(stage="diffs", step=1, seconds=1.0)
    with pytest.raises(DiffspeakError, match="no losses"):
        plot_losses(tmp_path)


def test_files_and_runs_import_neither_torch_nor_matplotlib():
    code = (
        "import sys, diffspeak.io.runs\n"
        "sys.exit({'torch', 'matplotlib'} & set(sys.modules) != set())"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(runs.__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
