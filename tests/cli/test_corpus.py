"""corpus: a base writes training data, and says what it left out."""

from tests.cli.conftest import Cli, write_study


def test_the_command_writes_and_shows(tmp_path, cli: Cli, tiny):
    study = write_study(tmp_path / "study", tiny).parent
    topics, questions = study / "topics.csv", study / "questions.csv"
    args = ("--topics", topics, "--questions", questions, "--out", tmp_path / "out")
    ran = cli("corpus", "--base", tiny, *args, "--tokens", 4, "--per-topic", 2, "--limit", 1)
    assert ran.code == 0 and "were left out" in ran.out and "13/13 answers" in ran.err
    ran = cli("corpus", "--base", tiny, *args[:1], tmp_path / "none", *args[2:])
    assert ran.code == 2 and "there is no file" in ran.err
