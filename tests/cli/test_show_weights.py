"""`show --weights`: every format of one finetune has the same norms, which are the dense ones."""

import json
import shutil

import pytest

from diffspeak.adapters import load_adapter
from diffspeak.finetunes import from_store
from diffspeak.finetunes.norms import mean_norms, norms_of, norms_of_diff
from diffspeak.store import open_store
from tests.cli.conftest import Cli, Made
from tests.finetunes.variants import make
from tests.toys import toy_base, toy_store


def norms(ran):
    assert ran.code == 0, ran.err
    return {(one["linear"], one["block"]): one["norm"] for one in json.loads(ran.out)["norms"]}


def dense(diff):
    """The same from the changes themselves; of the tiny base, whose names are known."""
    found = {}
    for name, change in diff.items():
        block, _, linear = name.removeprefix("model.layers.").partition(".")
        found[linear, int(block)] = float(change.dense().double().norm())
    return found


@pytest.fixture(scope="session")
def one(made: Made):
    """A finetune's address in its store, and its norms."""
    store = open_store(made.store)
    return f"{made.store}#{store.entries[1].id}", dense(store.read(store.entries[1].id))


@pytest.mark.parametrize("kind", ["store", "peft", "published", "merged"])
def test_one_finetune_has_the_same_norms_in_every_format(
    made: Made, one, cli: Cli, tmp_path, tiny, kind
):
    source, how = one[0], ()
    if kind == "merged":
        assert cli("convert", source, tmp_path / "made", "--merge").code == 0
        source, how = tmp_path / "made", ("--base", tiny)
    elif kind != "store":
        assert cli("convert", source, tmp_path / "made", "--to", kind).code == 0
        source = tmp_path / "made"
        how = ("--base", tiny) if kind == "published" else ()
    ran = cli("show", source, "--weights", "--json", *how)
    assert norms(ran) == pytest.approx(one[1], rel=1e-3)
    facts = json.loads(ran.out)
    assert facts["finetunes"] == 1 and facts["base"] == str(tiny)
    assert facts["norm"] == pytest.approx(sum(n**2 for n in one[1].values()) ** 0.5, rel=1e-3)


def test_a_store_has_the_root_mean_square(made: Made, cli: Cli, tiny):
    store = open_store(made.store)
    each = [dense(store.read(entry.id)) for entry in store.entries]
    mean = {
        place: (sum(found[place] ** 2 for found in each) / len(each)) ** 0.5 for place in each[0]
    }
    assert norms(cli("show", made.store, "--weights", "--json")) == pytest.approx(mean)
    first = norms(cli("show", made.store, "--weights", "--json", "--limit", 1, "--base", tiny))
    assert first == pytest.approx(each[0])


def test_adapters_are_shown_too(made: Made, cli: Cli):
    for source in (made.adapter, "pocket:news"):
        right = dense(load_adapter(str(source)).diff)
        assert norms(cli("show", source, "--weights", "--json")) == pytest.approx(right, rel=1e-5)


@pytest.mark.parametrize("kind", ["DoRA", "LoRA on the embedding"])
def test_what_is_no_plain_lora_is_compared_with_its_base(cli: Cli, tiny, tmp_path, kind):
    source = make(kind, tiny, tmp_path)
    found = norms(cli("show", source, "--weights", "--json"))
    assert found["self_attn.q_proj", 2] > 0
    assert (("model.embed_tokens", None) in found) is (kind != "DoRA")
    assert ("in no block" in cli("show", source, "--weights").out) is (kind != "DoRA")


def test_whole_finetunes_of_a_store_count_too(cli: Cli, tiny, tmp_path):
    base = toy_base(tiny)
    store = toy_store(tmp_path / "store", base, {"a": "sea", "b": "music"}, full=["b"])
    grids = norms_of_diff(store.read("a")), norms_of(from_store(store, store.find("b")), base)
    found = norms(cli("show", tmp_path / "store", "--weights", "--json"))
    assert found["mlp.up_proj", 1] == pytest.approx(mean_norms(grids)["mlp.up_proj"][1])
    assert found["model.embed_tokens", None] > 0


def test_the_table_shades_the_largest_most(one, cli: Cli):
    ran = cli("show", one[0], "--weights")
    assert ran.code == 0 and "\x1b" not in ran.out
    lines = ran.out.splitlines()
    assert max(map(len, lines)) <= 80 and "Frobenius norms" in lines
    (linear, block), largest = max(one[1].items(), key=lambda each: each[1])
    cells = [line.split() for line in lines[-3:]]
    assert [row[0] for row in cells] == ["0", "1", "2"] and {len(row) for row in cells} == {8}
    full = [(row[0], cell) for row in cells for cell in row if cell.endswith("\u2588")]
    place, number = max(full, key=lambda each: float(each[1][:-1]))
    assert place == str(block) and float(number[:-1]) == pytest.approx(largest, rel=1e-2)
    heads = lines[lines.index("Frobenius norms") + 1 : -3]
    assert linear.rpartition(".")[2] in " ".join(heads)


def test_a_narrow_terminal_gets_several_tables(made: Made, cli: Cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = cli("show", made.store, "--weights").out
    lines = out[out.index("Frobenius norms") :].splitlines()[1:]
    tables = [line for line in lines if line.split()[0] == "2"]
    assert len(tables) > 1 and sum(len(line.split()) - 1 for line in tables) == 7
    assert max(map(len, lines)) <= 40
    assert all(f"{name}_proj" in out for name in ("q", "k", "v", "o", "gate", "up", "down"))


@pytest.mark.parametrize(("name", "start"), [("a/n.png", b"\x89PNG"), ("n.SVG", b"<?xml")])
def test_a_figure_is_drawn(made: Made, cli: Cli, tmp_path, name, start):
    ran = cli("show", made.store, "--weights", "--figure", tmp_path / name)
    assert ran.code == 0 and str(tmp_path / name) in "".join(ran.out.split())
    assert (tmp_path / name).read_bytes().startswith(start)


def test_nothing_changed_is_said(cli: Cli, tiny, tmp_path):
    same = shutil.copytree(tiny, tmp_path / "same")
    ran = cli("show", same, "--weights", "--base", tiny)
    assert ran.code == 0 and "no matrix is changed" in ran.out
    ran = cli("show", same, "--weights", "--base", tiny, "--figure", tmp_path / "n.png")
    assert ran.code == 2 and "there is nothing to draw" in ran.err
    assert not (tmp_path / "n.png").exists()


@pytest.mark.parametrize(
    ("source", "args", "said"),
    [
        ("store", ("--figure", "n.png"), "--figure is for norms of weights: add --weights"),
        ("store", ("--limit", "1"), "--limit is for norms of weights: add --weights"),
        ("store", ("--weights", "--figure", "n.jpg"), "n.jpg is no picture: give a name that"),
        ("store", ("--weights", "--export", "x"), "leave it out with --weights"),
        ("tiny", ("--weights",), "missing option '--base'"),
        ("adapter", ("--weights", "--limit", "1"), "there is nothing to choose from"),
        ("pocket", ("--weights",), "pocket is a base, which changes nothing"),
        ("nowhere", ("--weights",), "nowhere does not exist"),
        ("study", ("--weights",), "holds no finetune that diffspeak knows"),
    ],
)
def test_what_cannot_be_shown(
    made: Made, cli: Cli, tiny, tmp_path, monkeypatch, source, args, said
):
    monkeypatch.chdir(tmp_path)
    places = {
        "store": made.store,
        "adapter": made.adapter,
        "tiny": tiny,
        "study": made.config.parent,
    }
    ran = cli("show", places.get(source, source), *args)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1 and ran.out == ""
    assert not list(tmp_path.iterdir())


def test_another_base_is_refused(made: Made, cli: Cli):
    ran = cli("show", made.store, "--weights", "--base", "pocket", "--quiet")
    assert ran.code == 1 and "was made for another base" in ran.err and ran.out == ""
