"""fetch: what it shows, what it says when it cannot, and the whole way in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from diffspeak.models import load_base
from diffspeak.paper_data import REPOSITORY, TABLES
from tests.cli.conftest import Cli
from tests.hub import empty_hub, put
from tests.hub_server import Hub, Repo, go_online, serving
from tests.paper_tables import TOPIC_COLUMNS, topic_rows, write_table
from tests.toys import toy_base


@pytest.fixture
def online(tmp_path, monkeypatch, tiny):
    """A server with the tiny model and the paper's data; gives it and its address."""
    model = {path.name: path.read_bytes() for path in tiny.iterdir()}
    table = write_table(tmp_path / "table.csv", TOPIC_COLUMNS, topic_rows())
    data = Repo({TABLES["hidden-topic"].path: table.read_bytes()})
    hub = Hub({"models/org/tiny": Repo(model), f"datasets/{REPOSITORY}": data})
    with serving(hub) as address:
        go_online(address, tmp_path / "hub", monkeypatch)
        yield hub, address


def test_size_first_then_the_model(cli: Cli, online, tmp_path):
    hub, _ = online
    ran = cli("fetch", "org/tiny", "--dry-run")
    assert ran.code == 0 and ran.err == "" and not hub.given()
    header, row, total = ran.out.splitlines()
    assert header.split() == ["repository", "commit", "files", "size", "to", "download"]
    assert row.split()[:2] == ["org/tiny", "c" * 8]
    assert total.startswith("to download: ") and str(tmp_path / "hub") in total
    assert not (tmp_path / "hub").exists()
    ran = cli("fetch", "org/tiny")
    assert ran.code == 0 and ran.out.splitlines()[-1].startswith("org/tiny is in ")
    assert "download: " in ran.err and "model.safetensors" in hub.given()
    ran = cli("fetch", "org/tiny", "--quiet")
    assert ran.code == 0 and "to download: 0 bytes" in ran.out and ran.err == ""


def test_the_papers_data(cli: Cli, online, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = cli("fetch", "paper:hidden-topic")
    assert ran.code == 0 and f"{Path('data/paper/answers.jsonl')}: 12 answers" in ran.out
    assert "convert: " in ran.err
    ran = cli("fetch", "paper:hidden-topic")
    assert ran.code == 0 and ran.out.count("is there already") == 3 and ran.err == ""


def test_a_gated_model(cli: Cli, online):
    hub, address = online
    hub.repos["models/org/tiny"].gated = True
    ran = cli("fetch", "org/tiny", "--dry-run")
    assert ran.code == 0 and "not open to you: org/tiny is gated" in ran.out
    ran = cli("fetch", "org/tiny")
    assert ran.code == 2 and ran.err.count("\n") == 1
    assert f"accept its terms on {address}/org/tiny, sign in with `hf auth login`" in ran.err


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_cache_that_cannot_be_written(cli: Cli, online, tmp_path, monkeypatch, more):
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    ran = cli("fetch", "org/tiny", *more)
    assert ran.code == 2 and ran.out == "" and not online[0].given()
    assert ran.err == (
        f"diffspeak: the hub's cache {cache} cannot be written (Not a directory): set "
        "HF_HUB_CACHE, or HF_HOME, to a folder that can\n"
    )


def test_offline(cli: Cli, tiny, tmp_path, monkeypatch):
    assert constants.HF_HUB_OFFLINE
    snapshot = empty_hub(tmp_path / "hub", monkeypatch)("org/tiny")
    for path in tiny.iterdir():
        put(snapshot, path.name, path.read_bytes())
    ran = cli("fetch", "org/tiny")
    assert ran.code == 0 and f"org/tiny is in {snapshot}" in ran.out
    (snapshot / "model.safetensors").unlink()
    ran = cli("fetch", "org/tiny")
    assert ran.code == 2 and "lacks model.safetensors" in ran.err and ran.out == ""


@pytest.mark.slow
def test_what_another_process_fetched_is_loaded_offline(online, tmp_path, tiny, monkeypatch):
    _, address = online
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": address,
        "OMP_NUM_THREADS": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "diffspeak", "fetch", "org/tiny"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and "org/tiny is in " in done.stdout, done.stderr
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    loaded = load_base("org/tiny", dtype="float32", device="cpu")
    assert loaded.fingerprint == toy_base(tiny).fingerprint
