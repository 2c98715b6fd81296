"""`diffspeak evaluate`: methods on a store that is there, from the command line."""

import json
import shutil

from diffspeak.store import open_store
from tests.cli.conftest import Cli, Made


def evaluate(cli: Cli, made: Made, out, *more):
    return cli("evaluate", made.config, "--store", made.store, "--out", out, *more)


def table(out):
    return json.loads((out / "evaluation" / "table.json").read_text())


def test_methods_that_were_named_are_tried_and_a_report_is_written(made: Made, cli: Cli, tmp_path):
    ran = evaluate(
        cli, made, tmp_path, "--adapter", made.adapter, "--method", "dit", "--method", "logit-lift"
    )
    assert ran.code == 0, ran.err
    assert "mean score" in ran.out and "logit lift" in ran.out
    assert [line["name"] for line in table(tmp_path)["lines"]] == ["dit", "logit lift"]
    assert (tmp_path / "report.html").is_file() and (tmp_path / "report.md").is_file()


def test_without_adapter_and_names_all_others_are_tried(made: Made, cli: Cli, tmp_path):
    ran = evaluate(cli, made, tmp_path, "--limit", 1)
    assert ran.code == 0, ran.err
    assert [line["name"] for line in table(tmp_path)["lines"]] == [
        "base question",
        "base question, with trigger",
        "20 questions",
        "20 questions, with trigger",
        "logit lift",
        "logit lift, with codes",
    ]
    assert all(line["finetunes"] == 1 for line in table(tmp_path)["lines"])


def test_another_judge_reads_the_same_guesses(made: Made, cli: Cli, tmp_path):
    assert evaluate(cli, made, tmp_path, "--method", "base-question").code == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "guesses").iterdir()}
    ran = evaluate(cli, made, tmp_path, "--method", "base-question", "--judge", "exact")
    assert ran.code == 0 and table(tmp_path)["judge"] == "exact"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "guesses").iterdir()} == kept


def test_a_method_with_a_typo_is_named_with_what_was_meant(made: Made, cli: Cli, tmp_path):
    ran = evaluate(cli, made, tmp_path, "--method", "20-question")
    assert ran.code == 2 and "did you mean '20-questions'" in ran.err
    assert not (tmp_path / "guesses").exists()


def test_what_a_method_lacks_is_said(made: Made, cli: Cli, tmp_path):
    ran = evaluate(cli, made, tmp_path, "--method", "dit")
    assert ran.code == 2 and "give --adapter" in ran.err
    ran = evaluate(cli, made, tmp_path, "--method", "generated-story")
    assert ran.code == 2 and "not taught news" in ran.err


def test_an_llm_that_cannot_be_asked_is_named_before_anything_is_guessed(
    made: Made, cli: Cli, tmp_path, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    more = ("--method", "base-question", "--judge", "openai/gpt-4o-mini")
    ran = evaluate(cli, made, tmp_path, *more)
    last = ran.err.strip().splitlines()[-1]
    assert ran.code == 2 and "openai/gpt-4o-mini" in last and "Traceback" not in ran.err
    assert not (tmp_path / "guesses").exists()


def test_what_a_judge_says_that_is_no_score_is_counted_as_unscored(made: Made, cli: Cli, tmp_path):
    # inspect-ai's mock says no number; offline it may not even count its tokens.
    more = ("--method", "base-question", "--judge", "mockllm/model")
    ran = evaluate(cli, made, tmp_path, *more)
    (line,) = table(tmp_path)["lines"]
    assert ran.code == 0, ran.err
    assert line["unscored"] == line["finetunes"] > 0 and line["mean score"] is None
    assert "unscored" in ran.out and "pairs unscored" in ran.err


def test_a_store_that_lost_shards_gives_what_it_has_and_says_so(made: Made, cli: Cli, tmp_path):
    store = shutil.copytree(made.store, tmp_path / "store")
    entries = open_store(store).entries
    (store / "shard-00000.jsonl").unlink()
    left = [e.id for e in entries if e.shard > 0 and e.split == "test" and e.kind != "failed"]
    ran = evaluate(cli, made._replace(store=store), tmp_path / "out", "--method", "base-question")
    (line,) = table(tmp_path / "out")["lines"]
    assert ran.code == 0 and "misses 1 of" in ran.err
    assert line["finetunes"] == len(left) > 0


def test_a_damaged_finetune_stops_it_by_name_and_what_was_guessed_is_kept(
    made: Made, cli: Cli, tmp_path
):
    store, out = shutil.copytree(made.store, tmp_path / "store"), tmp_path / "out"
    assert evaluate(cli, made._replace(store=store), out, "--method", "base-question").code == 0
    kept = list((out / "guesses").iterdir())
    whole = {path: path.read_bytes() for path in store.glob("*.safetensors")}
    for path in whole:
        path.write_bytes(path.read_bytes()[:-8])
    ran = evaluate(cli, made._replace(store=store), out, "--method", "logit-lift")
    assert ran.code == 1 and "safetensors" in ran.err and list((out / "guesses").iterdir()) == kept
    for path, content in whole.items():
        path.write_bytes(content)
    assert evaluate(cli, made._replace(store=store), out, "--method", "logit-lift").code == 0


def test_a_config_names_by_path_what_is_there_already(made: Made, cli: Cli, tmp_path, tiny):
    path = tmp_path / "table.toml"
    path.write_text(
        f"""
        title = "On what is there"
        base = {{ source = {str(tiny)!r}, dtype = "float32" }}
        evaluate = {{ tokens = 3 }}
        stores.mine.path = {str(made.store)!r}
        adapters.mine.path = {str(made.adapter)!r}
        [[rows]]
        name = "dit"
        test = "mine"
        adapter = "mine"
        [[rows]]
        name = "questions"
        test = "mine"
        method = "20-questions"
        """
    )
    ran = cli("run", path, "--out", tmp_path / "out")
    assert ran.code == 2 and "[stores.mine.behavior]" in ran.err, "whose questions are not known"
    path.write_text(path.read_text().replace("20-questions", "base-question"))
    ran = cli("run", path, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert not (tmp_path / "out" / "stores").exists()
    assert evaluate(cli, made, tmp_path / "same", "--adapter", made.adapter).code == 0
    lines = json.loads((tmp_path / "out" / "table" / "table.json").read_text())["lines"]
    for line, other in zip(lines, table(tmp_path / "same")["lines"], strict=False):
        assert line["mean score"] == other["mean score"] and line["finetunes"] > 0
