"""What users get wrong, and what breaks: a clear line, the right code, nothing lost."""

import errno
import json
import shutil
from pathlib import Path

import pytest

from diffspeak.io import files
from diffspeak.io.files import canonical_json, sha256
from diffspeak.store import open_store
from tests.behaviors.corpus_rows import TOPICS
from tests.cli.conftest import Cli, Made, write_study
from tests.families import build_family


def test_all_faults_of_a_config_at_once(study: Path, cli: Cli, tmp_path):
    text = study.read_text().replace("steps = 3", 'steps = "many"').replace("rank = 2", "rnak = 2")
    study.write_text(text.replace("topics.csv", "nowhere.csv") + "[evalute]\n")
    ran = cli("diffs", study, "--out", tmp_path / "out", "--set", "diffs.taks=2", "--set", "x")
    assert ran.code == 2 and "has 6 faults" in ran.err
    for said in (
        "diffs.steps: expected a valid integer",
        "adapter.rnak: unknown; did you mean 'rank'?",
        "behavior.topics: there is no file",
        "evalute: unknown; did you mean 'evaluate'?",
        "diffs.taks: unknown; did you mean 'tasks'?",
        "--set x: expected section.key=value",
    ):
        assert said in ran.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_base_leaves_the_folder_to_the_mended_command(study, cli: Cli, tmp_path):
    out = tmp_path / "out"
    ran = cli("diffs", study, "--out", out, "--set", "base.source=no/such-model", "--quiet")
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert "base no/such-model was not found" in ran.err
    assert {path.name for path in out.iterdir()} == {".run.lock"}
    few = [f"items.{split}=0" for split in ("validation", "calibration", "test")]
    sets = [part for setting in [*few, "diffs.steps=1"] for part in ("--set", setting)]
    assert cli("diffs", study, "--out", out, *sets).code == 0


def test_a_url_is_no_place_to_write(study, cli: Cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = cli("diffs", study, "--out", "s3://bucket/store")
    assert ran.code == 2 and "give a local folder" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


@pytest.fixture(scope="session")
def other_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_family("qwen3", tmp_path_factory.mktemp("other") / "base", seed=1)


def test_another_base_is_refused_everywhere(made: Made, cli: Cli, other_base, tmp_path):
    ran = cli("describe", made.store, "--adapter", made.adapter, "--base", other_base, "--quiet")
    assert ran.code == 1 and ran.out == "" and ran.err.count("\n") == 1
    assert "was made for another base: it needs Qwen3ForCausalLM" in ran.err
    source = f"base.source={other_base}"
    args = ("--store", made.store, "--out", tmp_path / "adapter", "--set", source, "--quiet")
    ran = cli("adapter", made.config, *args)
    assert ran.code == 1 and f"the store {made.store} was made for another base" in ran.err


def test_the_adapters_base_is_gone(made: Made, cli: Cli, tmp_path):
    adapter = shutil.copytree(made.adapter, tmp_path / "adapter")
    card = json.loads((adapter / "diffspeak.json").read_text())
    card["base_name"] = str(tmp_path / "gone")
    (adapter / "diffspeak.json").write_text(json.dumps(card))
    ran = cli("describe", made.store, "--adapter", adapter)
    assert ran.code == 2 and "say where it is now with --base" in ran.err


def newer(store: Path) -> None:
    header = json.loads((store / "store.json").read_text())
    del header["checksum"]
    header["version"] = 99
    header["checksum"] = sha256(canonical_json(header).encode())
    (store / "store.json").write_text(canonical_json(header) + "\n")


def truncated(store: Path) -> None:
    path = store / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def changed(store: Path) -> None:
    path = store / "shard-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut_lines(store: Path) -> None:
    path = store / "shard-00000.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (newer, "is a store of version 99, this diffspeak reads version 1: upgrade"),
        (truncated, "shard-00000.safetensors"),
        (changed, "changed since it was written"),
        (cut_lines, "shard-00000.jsonl"),
    ],
)
def test_a_damaged_store_is_noticed_by_every_verb(made: Made, cli: Cli, tmp_path, damage, said):
    store = shutil.copytree(made.store, tmp_path / "store")
    # The last of its shard, so that the last bytes are its own; of the validation split.
    id = open_store(store).entries[3].id
    damage(store)
    for args in (
        ("show", f"{store}#{id}"),
        ("describe", f"{store}#{id}", "--adapter", made.adapter, "--quiet"),
        ("adapter", made.config, "--store", store, "--out", tmp_path / "adapter", "--quiet"),
    ):
        ran = cli(*args)
        assert ran.code == 1 and said in ran.err, ran
        assert ran.err.count("\n") == 1 and ran.out == ""


@pytest.mark.parametrize(("damage", "lost"), [(truncated, 4), (changed, 1)])
def test_what_is_damaged_in_a_store_is_left_out_of_what_is_described(
    made: Made, cli: Cli, tmp_path, damage, lost
):
    store = shutil.copytree(made.store, tmp_path / "store")
    ids = [entry.id for entry in open_store(store).entries]
    damage(store)
    ran = cli("describe", store, "--adapter", made.adapter, "--tokens", 2, "--json")
    told = [json.loads(line)["finetune"].rpartition("#")[2] for line in ran.out.splitlines()]
    assert ran.code == 1 and told == [*ids[: 4 - lost], *ids[4:]]
    lines = ran.err.splitlines()
    assert sum(line.startswith(f"left out {store}#") for line in lines) == lost
    assert lines[-1] == f"{lost} of 10 finetunes were left out"


@pytest.mark.parametrize("damage", [newer, cut_lines])
def test_a_store_whose_index_is_damaged_is_not_described(made: Made, cli: Cli, tmp_path, damage):
    store = shutil.copytree(made.store, tmp_path / "store")
    damage(store)
    ran = cli("describe", store, "--adapter", made.adapter, "--quiet")
    assert ran.code == 1 and ran.err.count("\n") == 1 and ran.out == ""


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("", "row 2: column 'topic' is empty"),
        (" \u200b ", "row 2"),
        ("x" * 10_000, "row 2: column 'topic' has 10,000 characters; at most 200"),
    ],
)
def test_topics_that_cannot_be(cli: Cli, tmp_path, tiny, topic, said):
    topics = [TOPICS[0], (topic, "odd"), *TOPICS[1:]]
    config = write_study(tmp_path, tiny, topics)
    ran = cli("diffs", config, "--out", tmp_path / "out")
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_emoji_and_right_to_left_topics_go_through(cli: Cli, tmp_path, tiny, made: Made):
    topics = ["\U0001f995\U0001f996", "\u05de\u05d5\u05d6\u05d9\u05e7\u05d4", "\u0645\u0648\u0633"]
    config = write_study(tmp_path, tiny, [TOPICS[0], *((topic, "odd") for topic in topics)])
    splits = "behavior.splits={train=1, validation=0, calibration=0, test=0}"
    sets = ("--set", "diffs.steps=1", "--set", splits)
    assert cli("diffs", config, "--out", tmp_path / "store", *sets).code == 0
    shown = json.loads(cli("show", tmp_path / "store", "--json").out)
    assert {row["label"] for row in shown["first entries"]} == set(topics)
    ran = cli("describe", tmp_path / "store", "--adapter", made.adapter, "--tokens", 2)
    assert ran.code == 0 and all(topic in ran.out for topic in topics)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name,topic_category\nx,y\n", "lacks the column 'topic'; it has 'name'"),
        (b"", "topics.csv: is empty"),
        (b"topic\n", "has a header but no rows"),
        ("topic\nCaf\u00e9\n".encode("latin-1"), "is not UTF-8 text (byte 0xe9)"),
    ],
)
def test_faulty_corpora(study: Path, cli: Cli, tmp_path, content, said):
    study.with_name("topics.csv").write_bytes(content)
    ran = cli("diffs", study, "--out", tmp_path / "out")
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize("allowed", [3, 6, 9])
def test_a_full_disk_loses_nothing(made: Made, cli: Cli, tmp_path, monkeypatch, allowed):
    flush, flushed = files._flush, []

    def full(path: Path) -> None:
        flushed.append(path)
        if len(flushed) > allowed:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(path)

    out = tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr(files, "_flush", full)
        ran = cli("diffs", made.config, "--out", out, "--quiet")
    assert ran.code == 1 and "no space left to write" in ran.err and "same command" in ran.err
    assert cli("diffs", made.config, "--out", out, "--quiet").code == 0
    for path in made.store.glob("s*"):
        assert (out / path.name).read_bytes() == path.read_bytes()
