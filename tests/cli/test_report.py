"""`diffspeak report`: both pages of a run, and what it says of a folder without results."""

import json

from tests.cli.conftest import Cli

STUDY = {
    "title": "hidden-topic on pocket",
    "rows": [{"name": "DIT names it", "value": 0.97, "n": 100, "interval": [0.915, 0.99]}],
    "about": {},
}


def test_both_pages_are_written_and_the_first_is_named(cli: Cli, tmp_path):
    (tmp_path / "results.json").write_text(json.dumps(STUDY))
    ran = cli("report", tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, f"done: {tmp_path / 'report.html'}\n", "")
    for name in ("report.html", "report.md"):
        assert "DIT names it" in (tmp_path / name).read_text(encoding="utf-8")


def test_a_folder_without_results_is_told_what_to_do_with(cli: Cli, tmp_path):
    ran = cli("report", tmp_path)
    assert ran.code == 2 and ran.out == "" and ran.err.count("\n") == 1
    assert ran.err.startswith(f"diffspeak: {tmp_path} holds no results to report: fill it with")


def test_a_cut_file_is_named_in_one_line(cli: Cli, tmp_path):
    (tmp_path / "results.json").write_text("{")
    ran = cli("report", tmp_path)
    assert ran.code == 1 and "results.json is not valid JSON" in ran.err
    assert ran.err.count("\n") == 1
