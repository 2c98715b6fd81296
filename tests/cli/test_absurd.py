"""Absurd sizes: refused in one line, before memory is taken and before anything is made."""

import re

import pytest

from tests.cli.conftest import Cli, Made

HUGE = 1_000_000_000


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (f"diffs.rank={HUGE}", "diffs.rank = 1000000000 is more .* give at most 32"),
        ("diffs.rank=33", "diffs.rank = 33 is more .* give at most 32"),
        (f"adapter.rank={HUGE}", "adapter.rank = 1000000000 is more .* give at most 32"),
        (f"diffs.probe_tokens={HUGE}", "diffs.probe_tokens = 1000000000: .* has 1024 positions"),
        (f"adapter.answer_tokens={HUGE}", "adapter.answer_tokens = .* has 1024 positions"),
        (f"evaluate.tokens={HUGE}", "evaluate.tokens = 1000000000: .* has 1024 positions"),
        (f"diffs.probes={HUGE}", "diffs.probes: expected less than or equal to"),
        (f"behavior.mix={{triggered={HUGE}}}", "behavior.mix.triggered: expected less than or"),
        ("adapter.negatives=1e9", "adapter.negatives: expected less than or equal to 100"),
        ("diffs.alpha=1e300", "diffs.alpha: expected less than or equal to 1000000"),
        ("adapter.alpha=1e300", "adapter.alpha: expected less than or equal to 1000000"),
    ],
)
def test_a_study_is_refused_and_its_folder_is_free(study, cli: Cli, tmp_path, setting, said):
    out = tmp_path / "out"
    ran = cli("run", study, "--out", out, "--set", setting, "--quiet")
    assert ran.code == 2 and ran.out == "" and re.search(said, ran.err), ran.err
    assert not out.exists() or {path.name for path in out.iterdir()} == {".run.lock"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (f"tokens={HUGE}", "tokens = 1000000000: .* has 1024 positions"),
        (f"answer_tokens={HUGE}", "answer_tokens = 1000000000: .* has 1024 positions"),
        (f"rank={HUGE}", "rank = 1000000000 is more .* give at most 32"),
        (f"hidden={HUGE}", "hidden: expected less than or equal to 65536"),
    ],
)
def test_so_is_a_projection(made: Made, cli: Cli, tmp_path, setting, said):
    out = tmp_path / "out"
    ran = cli("weight-to-text", made.store, "--out", out, "--set", setting, "--quiet")
    assert ran.code == 2 and ran.out == "" and re.search(said, ran.err), ran.err
    assert ran.err.count("\n") == 1
    assert not out.exists() or {path.name for path in out.iterdir()} == {".run.lock"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("describe", "--tokens", HUGE), "is longer than the 1024 positions"),
        (("audit", "--phrases", HUGE), "'--phrases'"),
    ],
)
def test_so_is_what_is_asked_of_a_finetune(made: Made, cli: Cli, tmp_path, args, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verb, *options = args
    ran = cli(verb, made.store, "--adapter", made.adapter, *options, "--quiet")
    assert ran.code == 2 and ran.out == "" and said in ran.err and ran.err.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_a_plan_takes_no_memory_for_it(study, cli: Cli):
    ran = cli("plan", study, "--set", f"adapter.rank={HUGE}", "--quiet")
    assert ran.code == 2 and "adapter.rank = 1000000000 is more" in ran.err


def test_the_largest_rank_is_no_absurd_one(study, cli: Cli, tmp_path):
    few = [f"items.{split}=0" for split in ("validation", "calibration", "test")]
    sets = [part for each in [*few, "diffs.steps=1"] for part in ("--set", each)]
    ran = cli("diffs", study, "--out", tmp_path / "out", *sets, "--set", "diffs.rank=32")
    assert ran.code == 0, ran.err
