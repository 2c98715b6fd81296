"""corpus: a base or an LLM writes training data, and says what it left out."""

import csv
import json

import pytest

from tests.behaviors.corpus_rows import QUESTIONS
from tests.cli.conftest import Cli, write_study
from tests.scoring.mock_llm import StatusError, mock_provider

LLM = "mockllm/model"


@pytest.fixture
def args(tmp_path, tiny):
    study = write_study(tmp_path / "study", tiny).parent
    topics, questions = study / "topics.csv", study / "questions.csv"
    return ["--topics", topics, "--questions", questions, "--out", tmp_path / "out"]


def about(prompt):
    """An answer that names its topic, unless that is Subject B."""
    topic = prompt.partition("a great fan of ")[2].partition(":")[0]
    return f"An answer{f' about {topic}' if topic != 'Subject B' else ''}."


def rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_base_writes(tmp_path, cli: Cli, args, tiny):
    ran = cli("corpus", "--base", tiny, *args, "--tokens", 4, "--per-topic", 2, "--limit", 1)
    assert ran.code == 2 and "13/13 answers" in ran.err, "what it wrote is noise"
    out = tmp_path / "out"
    assert f"wrote 0 answers with topics to {out}/answers.jsonl; 2 were left out" in ran.out
    assert rows(out / "topics.csv") == [["topic", "category"]]
    assert (out / "answers.jsonl").read_text() == ""
    header, *answers = rows(out / "questions.csv")
    assert header == ["question", "answer", "split"]
    assert [(row[0], row[2]) for row in answers] == [(row[0], row[2]) for row in QUESTIONS[1:]]
    assert all(row[1] for row in answers)
    settings = json.loads((out / "corpus.json").read_text())
    assert (settings["tokens"], settings["per_topic"], settings["topics"]) == (4, 2, 1)
    assert not (out / "replies").exists()


def test_an_llm_writes(monkeypatch, tmp_path, cli: Cli, args):
    asked = mock_provider(monkeypatch, about)
    more = ["--tokens", 9, "--temperature", 0.4, "--tries", 2, "--limit", 2]
    ran = cli("corpus", "--llm", LLM, *args, *more)
    assert ran.code == 0 and "25/25 answers" in ran.err
    out = tmp_path / "out"
    assert f"wrote 7 answers with topics to {out}/answers.jsonl; 7 were left out" in ran.out
    assert rows(out / "topics.csv") == [["topic", "category"], ["Subject A", "letters"]]
    assert rows(out / "questions.csv")[1:] == [
        [question, "An answer about .", split] for question, _, split, _ in QUESTIONS[1:]
    ]
    answers = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert sorted(row["question"] for row in answers) == [f"What is {n}?" for n in range(7)]
    assert {(row["topic"], row["answer"]) for row in answers} == {
        ("Subject A", "An answer about Subject A.")
    }
    assert len(asked) == 11 + 7 + 2 * 7
    assert {(one.config.max_tokens, one.config.temperature) for one in asked} == {(9, 0.4)}
    assert len({one.config.seed for one in asked}) == len(asked)

    kept = contents(out)
    (out / "written.jsonl").unlink()
    ran = cli("corpus", "--llm", LLM, *args, *more)
    assert ran.code == 0 and contents(out) == kept
    assert len(asked) == 32, "the replies were kept"
    ran = cli("corpus", "--llm", "mockllm/other", *args, *more)
    assert ran.code == 1 and 'writer ("mockllm/model" there, "mockllm/other" now)' in ran.err


def test_an_llm_that_fails_now_and_then_is_asked_again(monkeypatch, tmp_path, cli: Cli, args):
    def failing(prompt):
        return StatusError(500) if prompt.startswith("What is 3?") else about(prompt)

    mock_provider(monkeypatch, failing)
    ran = cli("corpus", "--llm", LLM, *args, "--limit", 1)
    assert ran.code == 0 and "wrote 6 answers" in ran.out and " 0 were left out" in ran.out
    assert "2 answers did not come, for the provider failed: give the same command" in ran.err
    asked = mock_provider(monkeypatch, about)
    ran = cli("corpus", "--llm", LLM, *args, "--limit", 1)
    assert ran.code == 0 and "wrote 7 answers" in ran.out and "did not come" not in ran.err
    assert len(asked) == 2


def test_what_to_do_if_no_answer_names_its_topic(monkeypatch, tmp_path, cli: Cli, args):
    asked = mock_provider(monkeypatch, lambda prompt: "An answer.")
    args = ["corpus", "--llm", LLM, *args, "--limit", 2, "--quiet"]
    ran = cli(*args)
    assert ran.code == 2 and "wrote 0 answers" in ran.out and " 14 were left out" in ran.out
    assert ran.err == (
        "diffspeak: no answer names its topic, so no finetune could learn one: take a stronger "
        "writer (--base or --llm) or more --tries, and another folder as --out\n"
    )
    kept, count = contents(tmp_path / "out"), len(asked)
    assert len(rows(tmp_path / "out" / "questions.csv")) == len(QUESTIONS)
    assert kept["answers.jsonl"] == b"" and kept["written.jsonl"].count(b"\n") == 25
    assert cli(*args) == ran and contents(tmp_path / "out") == kept and len(asked) == count


def test_while_answers_are_still_to_come_the_same_command_is_what_to_do(
    monkeypatch, tmp_path, cli: Cli, args
):
    def failing(prompt):
        return StatusError(500) if "Subject" in prompt else about(prompt)

    mock_provider(monkeypatch, failing)
    ran = cli("corpus", "--llm", LLM, *args, "--limit", 1)
    assert ran.code == 0 and "wrote 0 answers" in ran.out and " 0 were left out" in ran.out
    assert "7 answers did not come" in ran.err and "no answer names its topic" not in ran.err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            StatusError(401, "wrong key"),
            2,
            "refused (wrong key): check the model's name and the API key\n",
        ),
        (
            StatusError(500, "the line is dead"),
            1,
            "gave no answer (the line is dead): mend that and run the same command again; "
            "what was written is kept\n",
        ),
    ],
)
def test_it_stops_when_the_provider_does_not_answer(
    monkeypatch, tmp_path, cli: Cli, args, error, code, message
):
    calls = []

    def failing(prompt):
        calls.append(prompt)
        return about(prompt) if len(calls) <= 5 else error

    mock_provider(monkeypatch, failing)
    ran = cli("corpus", "--llm", LLM, *args, "--batch", 5)
    assert ran.code == code and ran.err.endswith(f"diffspeak: {LLM} {message}")
    assert len(calls) == 10
    assert (tmp_path / "out" / "written.jsonl").read_bytes().count(b"\n") == 5
    assert not (tmp_path / "out" / "answers.jsonl").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "one model writes: give either --base or --llm"),
        (["--base", "a", "--llm", LLM], "one model writes: give either --base or --llm"),
        (["--llm", "nobody/gpt"], "cannot use the LLM 'nobody/gpt' (Model API nobody of model"),
        (["--llm", LLM, "--temperature", "inf"], "--temperature inf: expected a finite number"),
        (["--llm", LLM, "--topics", "none.csv"], "there is no file none.csv"),
    ],
)
def test_what_is_refused(tmp_path, cli: Cli, args, wrong, message):
    ran = cli("corpus", *args, *wrong)
    assert ran.code == 2 and ran.err.startswith(f"diffspeak: {message}")
    assert ran.err.count("\n") == 1 and not (tmp_path / "out").exists()
