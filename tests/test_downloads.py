"""What a name needs is found, with sizes, and then had; all of it from a hub's cache, offline."""

import json
import shutil
from pathlib import Path

import pytest

from diffspeak.behaviors import make_behavior
from diffspeak.downloads import (
    DownloadPlan,
    carry_out,
    check_cache,
    check_space,
    plan_downloads,
)
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.experiments.read import load_config
from diffspeak.paper_data import REPOSITORY, TABLES
from tests.hub import MAIN, empty_hub, put
from tests.hub_server import Hub, Repo, go_online, serving
from tests.paper_tables import (
    NEWS_COLUMNS,
    TOPIC_COLUMNS,
    TOPICS,
    news_rows,
    topic_rows,
    write_table,
)

STUDY = """
[base]
source = "org/tiny"
[behavior]
name = "hidden-topic"
topics = "data/topics.csv"
questions = "data/questions.csv"
answers = "data/deeper/answers.jsonl"
"""


@pytest.fixture
def add(tmp_path, monkeypatch):
    """An empty cache; gives a function that adds a repository to it."""
    return empty_hub(tmp_path / "hub", monkeypatch)


@pytest.fixture
def model(add, tiny):
    """The tiny model in the cache."""
    snapshot = add("org/tiny")
    for path in tiny.iterdir():
        put(snapshot, path.name, path.read_bytes())
    return snapshot


@pytest.fixture
def data(add, tmp_path):
    """The paper's tables in the cache, in small."""
    storage = tmp_path / "hub" / f"datasets--{REPOSITORY.replace('/', '--')}"
    snapshot = storage / "snapshots" / MAIN
    for behavior, header, rows in (
        ("hidden-topic", TOPIC_COLUMNS, topic_rows()),
        ("news", NEWS_COLUMNS, news_rows()),
    ):
        table = write_table(tmp_path / "table.csv", header, rows)
        snapshot.mkdir(parents=True, exist_ok=True)
        put(snapshot, TABLES[behavior].path, table.read_bytes())
    (storage / "refs").mkdir()
    (storage / "refs" / "main").write_text(MAIN)
    return snapshot


def study(folder: Path, text: str = STUDY) -> str:
    path = folder / "study.toml"
    path.write_text(text)
    return str(path)


def test_a_model_that_is_whole_in_the_cache(model):
    found = plan_downloads("org/tiny")
    (each,) = found.models
    assert found.missing == 0 and each.commit == MAIN
    assert each.size == sum((model / file.name).stat().st_size for file in each.files)
    assert carry_out(found) == [f"org/tiny is in {model}"]
    assert carry_out(plan_downloads("org/tiny", revision=MAIN)) == [
        f"org/tiny@{MAIN} is in {model}"
    ]


def test_a_model_that_lacks_a_shard(model):
    (model / "model.safetensors").unlink()
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    weight_map = dict(zip("ab", shards, strict=True))
    put(model, "model.safetensors.index.json", json.dumps({"weight_map": weight_map}).encode())
    put(model, shards[0], b"some")
    (model / "tokenizer.json").unlink()
    said = f"org/tiny in .*hub lacks {shards[1]}, tokenizer.json, and HF_HUB_OFFLINE=1 forbids"
    with pytest.raises(UsageError, match=said):
        plan_downloads("org/tiny")


def test_other_repositories_in_the_cache(add):
    lora, published = add("org/lora"), add("org/loras")
    put(lora, "deep/adapter_config.json", b"{}")
    with pytest.raises(UsageError, match=r"org/lora:deep in .* lacks adapter_model.safetensors"):
        plan_downloads("org/lora:deep")
    put(lora, "deep/adapter_model.safetensors", b"tensors")
    assert carry_out(plan_downloads("org/lora:deep")) == [f"org/lora:deep is in {lora / 'deep'}"]
    put(published, "tiny/index.csv", b"lora_path,lora_idx\nw/a.pt,0\nw/b.pt,0\n")
    put(published, "tiny/w/a.pt", b"tensors")
    with pytest.raises(UsageError, match=r"lacks w/b.pt"):
        plan_downloads("org/loras:tiny")
    single = plan_downloads("org/loras:tiny/w/a.pt")
    assert carry_out(single) == [f"org/loras:tiny/w/a.pt is in {published / 'tiny/w/a.pt'}"]
    put(published, "broken/index.csv", b"no,such\ncolumns,1\n")
    with pytest.raises(CorruptFileError, match="fetch it again"):
        plan_downloads("org/loras:broken")


@pytest.mark.parametrize(("behavior", "count"), [("hidden-topic", 3), ("news", 2)])
def test_the_papers_data_once(data, tmp_path, behavior, count):
    out = tmp_path / "out"
    found = plan_downloads(f"paper:{behavior}", out)
    assert found.corpora and not found.models and not out.exists()
    said = carry_out(found)
    files = [out / file for file in TABLES[behavior].files.values()]
    assert all(path.is_file() for path in files) and len(said) == len(files) == count
    before = [path.stat().st_ino for path in files]
    shutil.rmtree(data)
    again = plan_downloads(f"paper:{behavior}", out)
    assert again == DownloadPlan(notes=tuple(f"{path} is there already" for path in files))
    assert carry_out(again) == [] and [path.stat().st_ino for path in files] == before


def test_rows_that_are_left_out_are_told(data, tmp_path):
    path = data / TABLES["hidden-topic"].path
    path.resolve().write_text(path.read_text() + "a,b,c,d,e,f,g,,i\n")
    said = carry_out(plan_downloads("paper:hidden-topic", tmp_path / "out"))
    assert said[-1].startswith("1 rows of the table were left out")


def test_a_study_gets_its_base_and_its_corpora_where_it_looks_for_them(model, data, tmp_path):
    name = study(tmp_path)
    with pytest.raises(UsageError, match="3 faults"):
        load_config(name)
    found = plan_downloads(name)
    assert [each.repository.name for each in found.repositories] == ["org/tiny", REPOSITORY]
    said = carry_out(found)
    assert said[0] == f"org/tiny is in {model}" and len(said) == 4
    config = load_config(name, ["behavior.trigger=none"])
    assert {item.label for item in make_behavior(config.behavior).items()} == set(TOPICS)
    again = plan_downloads(name)
    assert again.corpora is None and again.notes == (f"no corpus of {name} is missing",)


def test_a_corpus_that_is_there_stays(model, data, tmp_path):
    own = tmp_path / "data" / "topics.csv"
    own.parent.mkdir()
    own.write_text("topic\nJazz\n")
    found = plan_downloads(study(tmp_path))
    assert found.corpora and set(found.corpora.targets) == {"questions", "answers"}
    assert found.notes == (f"{own} is there already",)
    carry_out(found)
    assert own.read_text() == "topic\nJazz\n" and (tmp_path / "data" / "questions.csv").exists()


@pytest.mark.parametrize("source", ["pocket", "a folder"])
def test_a_study_that_has_all_it_needs(add, tiny, tmp_path, source):
    source = str(tiny) if source == "a folder" else source
    text = STUDY.replace("org/tiny", source).replace('"data/', '"pocket:')
    found = plan_downloads(
        study(tmp_path, text.replace('answers = "pocket:deeper/answers.jsonl"', ""))
    )
    assert found.repositories == () and found.notes[0] == f"the base {source} is on this machine"
    assert carry_out(found) == []


def test_a_base_alone(model, tmp_path):
    found = plan_downloads(study(tmp_path, f'[base]\nsource = "org/tiny"\nrevision = "{MAIN}"\n'))
    assert [each.repository.name for each in found.models] == [f"org/tiny@{MAIN}"]


NEWS = STUDY.replace("hidden-topic", "news").replace("topics", "headlines")
NEWS = NEWS.replace("answers", "stories")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            STUDY.replace("answers =", "# answers ="),
            "name a file for them, too, as behavior.answers",
        ),
        (NEWS, "there is no file .*questions.csv, and the paper published no questions for news"),
        (STUDY.replace("org/tiny", "./none"), "base.source './none' is neither a folder here nor"),
        (STUDY.replace("org/tiny", "s3://x/y"), "base.source 's3://x/y' is neither"),
        (STUDY.replace("org/tiny", "org/other"), "org/other is not in .*hub, and HF_HUB_OFFLINE=1"),
        (STUDY.replace("[base]", "[bass]"), "did you mean 'base'"),
        (STUDY, f"{REPOSITORY} is not in .*hub"),
    ],
)
def test_a_study_that_cannot_be_had(model, tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        plan_downloads(study(tmp_path, text))
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("paper:other", {}, "paper:other is unknown; known are paper:hidden-topic, paper:news"),
        ("just-a-name", {}, "just-a-name cannot be fetched; give a config"),
        ("a/b/c", {}, "a/b/c cannot be fetched"),
        ("org/x:../y", {}, "may not leave its repository"),
        ("org/x@v1", {"revision": "v2"}, "org/x@v1 names a revision, and so does --revision"),
        ("study.toml", {"revision": "v2"}, "leave --revision out"),
        ("org/x", {"out": Path("x")}, "--out is for the paper's data"),
        ("none.toml", {}, "cannot read the config none.toml"),
        ("org/x", {}, "org/x is not in .*hub, and HF_HUB_OFFLINE=1 forbids to download"),
        ("org/tiny@v9", {}, "org/tiny@v9 is not in .*hub"),
    ],
)
def test_what_cannot_be_fetched(model, name, options, said):
    with pytest.raises(UsageError, match=said):
        plan_downloads(name, **options)


@pytest.mark.parametrize("name", ["pocket", "pocket:news", "."])
def test_what_is_on_this_machine(add, name):
    assert plan_downloads(name).notes == (f"{name} is on this machine: there is nothing to fetch",)


@pytest.fixture
def online(tmp_path, monkeypatch, tiny):
    """A server that has the tiny model and the paper's data."""
    table = write_table(tmp_path / "table.csv", TOPIC_COLUMNS, topic_rows())
    model = {path.name: path.read_bytes() for path in tiny.iterdir()}
    path = TABLES["hidden-topic"].path
    data = Repo({path: table.read_bytes(), "other.csv": b"x"})
    hub = Hub({"models/org/tiny": Repo(model), f"datasets/{REPOSITORY}": data})
    with serving(hub) as address:
        go_online(address, tmp_path / "hub", monkeypatch)
        yield hub


def test_a_study_from_the_hub(online, tmp_path):
    name = study(tmp_path)
    found = plan_downloads(name)
    sizes = [each.missing for each in found.repositories]
    assert all(sizes) and found.missing == sum(sizes) and not online.given()
    carry_out(found)
    assert load_config(name).base.source == "org/tiny"
    assert "other.csv" not in online.given()
    assert plan_downloads(name).missing == 0


@pytest.mark.parametrize("disk", ["the cache's", "the corpora's"])
def test_what_does_not_fit_is_refused(online, tmp_path, monkeypatch, disk):
    found = plan_downloads(study(tmp_path))
    assert found.corpora
    enough = found.missing + found.corpora.table.size
    monkeypatch.setattr("diffspeak.downloads.free_space", lambda path: enough)
    check_space(found)
    monkeypatch.setattr("diffspeak.downloads.free_space", lambda path: enough - 1)
    with pytest.raises(UsageError, match="are needed on the disk of .* are free: free some space"):
        check_space(found)
    small = "hub" if disk == "the cache's" else "data"
    monkeypatch.setattr(
        "diffspeak.downloads.free_space", lambda path: 0 if path.name == small else enough
    )
    with pytest.raises(UsageError, match=f"on the disk of .*{small}, and 0 bytes are free"):
        carry_out(found)
    assert not online.given()


def test_a_cache_that_cannot_be_written_is_refused(online, tmp_path, monkeypatch):
    found = plan_downloads("org/tiny")
    monkeypatch.setattr("diffspeak.downloads.why_not_writable", lambda path: "closed")
    said = r"the hub's cache .*hub cannot be written \(closed\): set HF_HUB_CACHE, or HF_HOME"
    for refuses in (check_cache, carry_out):
        with pytest.raises(UsageError, match=said):
            refuses(found)
    assert not online.given()


def test_what_is_here_needs_no_space_and_no_leave_to_write(model, monkeypatch):
    monkeypatch.setattr("diffspeak.downloads.free_space", lambda path: 0)
    monkeypatch.setattr("diffspeak.downloads.why_not_writable", lambda path: "closed")
    assert carry_out(plan_downloads("org/tiny"))
