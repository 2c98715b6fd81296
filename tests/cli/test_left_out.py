"""One broken finetune of many: it is told and left out, the others are described."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
import typer

from diffspeak.cli.left_out import TOLD, LeftOut
from diffspeak.cli.session import Session
from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from tests.cli.conftest import Cli, Made
from tests.toys import base_diff, toy_base


def named(*names):
    return [SimpleNamespace(name=name) for name in names]


def worked(left, finetunes, work, size=3):
    pairs = left.worked(iter(finetunes), size, work, math.isfinite)
    return [(one.name, result) for one, result in pairs]


def failing(on, error, seen):
    def work(part):
        seen.append([one.name for one in part])
        if on & {one.name for one in part}:
            raise error
        return [float(len(one.name)) for one in part]

    return work


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("too\nlarge"), MemoryError(), RuntimeError("x"), CorruptFileError("x")],
    ids=lambda error: type(error).__name__,
)
def test_where_some_fail_together_each_is_tried_alone(capsys, error):
    left, seen = LeftOut(Session(), 5), []
    found = worked(left, named(*"abcde"), failing({"b"}, error, seen))
    assert found == [(name, 1.0) for name in "acde"]
    assert seen == [list("abc"), ["a"], ["b"], ["c"], list("de")]
    with pytest.raises(typer.Exit) as ended:
        left.end()
    assert ended.value.exit_code == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and told[0].startswith("left out b: ")
    assert told[1] == "1 of 5 finetunes were left out"


def test_what_rests_on_no_numbers_is_left_out(capsys):
    left = LeftOut(Session(), 2)
    assert worked(left, named("a", "b"), lambda part: [math.nan, 2.0]) == [("b", 2.0)]
    assert "left out a: the finetune gives no finite numbers" in capsys.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), CorruptFileError("x")])
def test_of_one_alone_the_error_is_the_end(error):
    with pytest.raises(type(error)):
        worked(LeftOut(Session(), 1), named("a"), failing({"a"}, error, []))


@pytest.mark.parametrize("error", [UsageError("x"), MismatchError("x"), KeyboardInterrupt()])
def test_what_is_nobodys_fault_is_the_end(error):
    with pytest.raises(type(error)):
        worked(LeftOut(Session(), 3), named(*"abc"), failing({"b"}, error, []))


def test_where_nothing_is_left_out_the_end_says_nothing(capsys):
    left = LeftOut(Session(), 2)
    assert len(worked(left, named("a", "b"), failing(set(), None, []))) == 2
    left.end()
    assert capsys.readouterr().err == ""


def test_what_cannot_be_read_is_left_out_and_told_a_few_times(capsys):
    keys = [f"k{n}" for n in range(3 * TOLD)]

    def read(key, base):
        if key != "k7":
            raise AttributeError("nobody thought of this")
        return SimpleNamespace(name=key)

    source = SimpleNamespace(name="many.pt", keys=keys, read=read)
    left = LeftOut(Session(), len(keys))
    assert [one.name for one in left.read(source, None)] == ["k7"]
    told = capsys.readouterr().err.splitlines()
    why = "it cannot be read (AttributeError: nobody thought of this)"
    assert len(told) == TOLD and told[0] == f"left out many.pt#k0: {why}"
    with pytest.raises(typer.Exit):
        left.end()
    assert capsys.readouterr().err == f"{len(keys) - 1} of {len(keys)} finetunes were left out\n"


@pytest.fixture
def published(made: Made, tiny, tmp_path):
    """Three finetunes in one file, the second of them absurd."""
    base = toy_base(tiny)
    entries = []
    for topic, size in (("sea", 1.0), ("huge", 1e30), ("music", 1.0)):
        diff = base_diff(base, seed=len(topic))
        pairs = {n: ((c.B * size).T.contiguous(), c.A.T.contiguous()) for n, c in diff.items()}
        entries.append({"topic": topic, "weight_diff": pairs})
    torch.save(entries, tmp_path / "three.pt")
    return tmp_path / "three.pt"


def test_one_without_numbers_keeps_no_other_from_being_described(made: Made, cli: Cli, published):
    common = ("--adapter", made.adapter, "--tokens", 3, "--json")
    ran = cli("describe", published, *common)
    told = {row["finetune"]: row for row in map(json.loads, ran.out.splitlines())}
    assert ran.code == 1 and list(told) == [f"{published}#sea", f"{published}#music"]
    assert f"left out {published}#huge: the finetune gives no finite numbers" in ran.err
    assert ran.err.endswith("1 of 3 finetunes were left out\n")
    for name, row in told.items():
        (alone,) = map(json.loads, cli("describe", name, *common).out.splitlines())
        assert alone["description"] == row["description"]
        assert alone["lift"] == pytest.approx(row["lift"], abs=1e-4)


def test_one_alone_without_numbers_is_an_error_of_one_line(made: Made, cli: Cli, published):
    ran = cli("describe", f"{published}#huge", "--adapter", made.adapter, "--quiet")
    assert ran.code == 1 and ran.out == "" and ran.err.count("\n") == 1
    assert ran.err.startswith("diffspeak: the finetune gives no finite numbers on this base")


def test_where_all_are_left_out_no_table_is_written(made: Made, cli: Cli, published):
    entries = torch.load(published, weights_only=True)
    torch.save([entries[1], {**entries[1], "topic": "other"}], published)
    ran = cli("describe", published, "--adapter", made.adapter, "--quiet")
    assert ran.code == 1 and ran.out == "" and ran.err.endswith("2 of 2 finetunes were left out\n")
