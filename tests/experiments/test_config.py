"""Names of an experiment's stores, adapters and projections: none leads out of the run."""

import pytest

from diffspeak.cli import main
from diffspeak.errors import UsageError
from diffspeak.experiments import load_experiments
from diffspeak.experiments.artifacts import inside
from diffspeak.experiments.config import LONGEST, fault_of

TOML = """
title = "X"
[base]
source = "pocket"
[stores.'{store}'.behavior]
name = "hidden-topic"
topics = "pocket:topics.csv"
questions = "pocket:questions.csv"
[adapters.'{adapter}']
stores = ['{store}']
[projections.'{projection}']
stores = ['{store}']
[[rows]]
name = "a row"
test = '{store}'
adapter = '{adapter}'
[[rows]]
name = "another"
test = '{other}'
method = "weight-to-text"
adapter = '{projection}'
"""
PLAIN = {"store": "topics", "adapter": "both", "projection": "both", "other": "topics"}


@pytest.fixture
def toml(tmp_path):
    def write(**names):
        path = tmp_path / "experiment.toml"
        path.write_text(TOML.format(**{**PLAIN, **names}))
        return path

    return write


def test_plain_names_are_good(toml):
    (found,) = load_experiments(toml())
    assert list(found.stores) == ["topics"] and list(found.projections) == ["both"]


@pytest.mark.parametrize("bad", ["../../x", "/abs/x", "a\\b", ".."])
@pytest.mark.parametrize(
    ("kind", "table"),
    [("store", "stores"), ("adapter", "adapters"), ("projection", "projections")],
)
def test_a_path_in_place_of_a_name_is_refused(toml, kind, table, bad):
    names = {"store": bad, "other": bad} if kind == "store" else {kind: bad}
    with pytest.raises(UsageError) as caught:
        load_experiments(toml(**names))
    assert f"{table}: {bad!r} is a path: give a name" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_are_told_together(toml):
    names = {"store": "../s", "other": "else", "adapter": "/a", "projection": ".p"}
    with pytest.raises(UsageError) as caught:
        load_experiments(toml(**names), ["judge.resamples=0"])
    for said in (
        "2 faults",
        "stores: '../s' is a path",
        "adapters: '/a' is a path",
        "projections: '.p' begins with a dot",
        "row 'another' names the store 'else', which is none of ../s",
        "judge.resamples: expected greater than 0",
    ):
        assert said in str(caught.value).replace("Input should be", "expected")


def test_the_name_of_an_experiment_is_a_folder_too(toml):
    path = toml()
    path.write_text("name = '../x'" + path.read_text())
    with pytest.raises(UsageError, match="name: String should match pattern"):
        load_experiments(path)


def test_the_command_says_so_before_it_writes_anything(toml, tmp_path, capsys):
    path = toml(store="../../x", other="../../x")
    before = set(tmp_path.rglob("*"))
    assert main(["run", str(path), "--out", str(tmp_path / "deep" / "run")]) == 2
    assert "stores: '../../x' is a path" in capsys.readouterr().err
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["topics", "rank-1", "zero width", "a.b", "x..y", "\u00fcber", "CON", "a" * LONGEST]
)
def test_a_plain_name_is_a_folder(tmp_path, name):
    assert fault_of(name) is None
    assert inside(tmp_path, "stores", name) == tmp_path / "stores" / name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../x", "is a path"),
        ("../../../etc", "is a path"),
        ("/etc/x", "is a path"),
        ("a/b", "is a path"),
        ("a\\b", "is a path"),
        ("C:\\x", "is a path"),
        (".", "is a path"),
        ("..", "is a path"),
        (".lock", "begins with a dot"),
        ("a\nb", "control character"),
        ("a\x00b", "control character"),
        ("a\u202eb", "control character"),
        ("", "is blank"),
        (" ", "is blank"),
        ("a" * (LONGEST + 1), "is longer than 80 bytes"),
        ("\u00fc" * LONGEST, "is longer than 80 bytes"),
    ],
)
def test_anything_else_is_refused_with_the_reason(name, said):
    assert said in (fault_of(name) or "")
