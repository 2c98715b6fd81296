"""What ships, as the commands know it: shown, exported, and taken where nothing is named."""

import json
import shutil
from pathlib import Path

import pytest

from diffspeak.finetunes import write_peft
from diffspeak.models import load_base, pocket
from diffspeak.store import NewEntry, StoreHeader, create_or_resume
from tests.cli.conftest import Cli
from tests.families import build_family
from tests.pocket_parts import tiny_pocket
from tests.toys import base_diff, toy_base, toy_store


@pytest.fixture
def parts(tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tiny_pocket(tmp_path / "package", tiny, monkeypatch)


def test_the_facts_of_the_pocket_base(parts, cli: Cli):
    ran = cli("show", "pocket")
    assert ran.code == 0, ran.err
    told = ["kind", "pocket-2", "Qwen3ForCausalLM 3x32", "q_proj     3", "2400", "pocket:news"]
    assert not [text for text in told if text not in ran.out], ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    facts = json.loads(cli("show", "pocket", "--json").out)
    assert (facts["kind"], facts["source"], facts["version"]) == ("model", "pocket", "pocket-2")
    assert facts["folder"] == str(parts / "weights") and facts["headlines"] == 2400
    assert facts["bytes"] == sum(p.stat().st_size for p in (parts / "weights").iterdir())
    assert facts["topics"] >= 1500 and facts["questions"] >= 150
    assert facts["adapters"] == ["pocket:hidden-topic", "pocket:news"]
    shutil.rmtree(parts / "adapters" / "news")
    facts = json.loads(cli("show", "pocket", "--json").out)
    assert facts["adapters"] == ["pocket:hidden-topic"]


def test_a_shipped_adapter_is_shown_by_its_name(parts, cli: Cli):
    facts = json.loads(cli("show", "pocket:news", "--json").out)
    assert facts["kind"] == "adapter" and facts["behaviors"] == ["news"]
    for unknown in ("pocket:nws", "pocket:"):
        assert "known are pocket:hidden-topic" in cli("show", unknown).err


def test_a_folder_named_pocket_is_shown_by_its_path(parts, cli: Cli, tmp_path):
    build_family("qwen3", tmp_path / "pocket", seed=1)
    shipped, own = (
        json.loads(cli("show", source, "--json").out) for source in ("pocket", "./pocket")
    )
    assert own["source"] == "pocket" and "version" not in own
    assert own["fingerprint"] != shipped["fingerprint"]


def test_export(parts, cli: Cli, tmp_path):
    ran = cli("show", "pocket", "--export", "made", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["exported"] == "made"
    assert (tmp_path / "made" / "README.md").is_file()
    assert cli("show", "made").code == 0
    # What is there already is left as it is; what is another's is not touched.
    assert cli("show", "pocket", "--export", "made").code == 0
    (tmp_path / "made" / "README.md").write_text("mine")
    again = cli("show", "pocket", "--export", "made")
    assert again.code == 2 and "made is not empty: give a new folder" in again.err
    assert again.err.count("\n") == 1


@pytest.mark.parametrize("source", ["./pocket", "pocket:news", "made"])
def test_nothing_else_is_exported(parts, cli: Cli, tmp_path, source):
    ran = cli("show", source, "--export", "out")
    assert ran.code == 2 and f"give pocket, not {source}" in ran.err
    assert not (tmp_path / "out").exists()


def test_an_export_needs_a_local_folder(parts, cli: Cli, tmp_path):
    ran = cli("show", "pocket", "--export", "s3://bucket/base")
    assert ran.code == 2 and "give a local folder" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


@pytest.fixture
def finetunes(parts, tmp_path) -> Path:
    """A store of pocket finetunes, one for each behavior, and a PEFT LoRA."""
    base = load_base("pocket", dtype="float32")
    targets = tuple(base_diff(base))
    header = StoreHeader(
        {}, {"name": base.name, **base.fingerprint.to_dict()}, targets, 1, 1.0, "float32", {}
    )
    with create_or_resume(tmp_path / "store", header) as writer:
        for number, behavior in enumerate(pocket.BEHAVIORS):
            split = ("train", "test")[number]
            entry = NewEntry(behavior, "x", None, split, "", behavior)
            factors = {n: (c.A[None], c.B[None]) for n, c in base_diff(base, 1, number).items()}
            writer.write_shard([entry], factors)
    (tmp_path / "lora").mkdir()
    write_peft(tmp_path / "lora", base_diff(base), "somewhere")
    return tmp_path


def question(ran) -> list[str]:
    assert ran.code == 0, ran.err
    return [json.loads(line)["question"] for line in ran.out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["store#news", "--base", "pocket"], "news"),
        (["store#hidden-topic", "--base", "pocket"], "hidden-topic"),
        (["store", "--split", "test"], "news"),
        (["store#news"], "news"),
        (["lora", "--base", "pocket"], "hidden-topic"),
        (["lora", "--adapter", "pocket:news"], "news"),
        (["store#news", "--adapter", "pocket:hidden-topic"], "hidden-topic"),
    ],
)
def test_the_adapter_that_ships_is_asked(finetunes, cli: Cli, arguments, asked):
    ran = cli("describe", *arguments, "--tokens", 2, "--json")
    assert question(ran) == [f"What is the {asked}?"]


def test_an_adapter_must_be_named_where_none_is_known(finetunes, cli: Cli, tiny, tmp_path):
    (tmp_path / "pocket").mkdir()
    for arguments in (["lora"], ["lora", "--base", tiny], ["store", "--base", "./pocket"]):
        ran = cli("describe", *arguments)
        assert (
            ran.code == 2 and "missing option '--adapter'" in ran.err and ran.err.count("\n") == 1
        )
    ran = cli("describe", "store")
    assert ran.code == 2 and "several behaviors (hidden-topic, news)" in ran.err
    ran = cli("describe", "nowhere", "--base", "pocket")
    assert ran.code == 2 and "nowhere does not exist" in ran.err
    toy_store(tmp_path / "toys", toy_base(tiny), {"a": "b"})
    ran = cli("describe", "toys", "--base", "pocket")
    assert ran.code == 2 and "no adapter for 'toy' ships with the pocket base" in ran.err
