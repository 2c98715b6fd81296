"""describe with adapters of the hub (ours, and a LoRA of others), and with calibrated ones."""

import io
import json
import shutil

import pytest
import torch

from diffspeak.adapters import Calibration, Calibrations, load_adapter, save_calibrations
from diffspeak.adapters.calibration import GAINED, gained
from diffspeak.behaviors.ordinary import NOTHING_LABEL
from diffspeak.cli.described import print_described
from diffspeak.cli.session import Session
from tests.cli.conftest import Cli, Made
from tests.hub import empty_hub, put
from tests.toys import toy_base, toy_store

FILE = "hidden-topic/tiny/dit-adapter.pt"


@pytest.fixture
def hub(made: Made, tmp_path, monkeypatch):
    """The small study's adapter, as we write it and as the paper published its own."""
    add = empty_hub(tmp_path / "hub", monkeypatch)
    shutil.copytree(made.adapter, add("org/dit"), dirs_exist_ok=True)
    adapter, file = load_adapter(made.adapter), io.BytesIO()
    content = {
        name: (change.B * change.scaling * change.rank, change.A)
        for name, change in adapter.diff.items()
    }
    torch.save(content, file)
    put(add("org/loras"), FILE, file.getvalue())
    return adapter


def told(ran):
    assert ran.code == 0, ran.err
    return [json.loads(line)["description"] for line in ran.out.splitlines()]


def test_adapters_of_the_hub_say_what_they_say_here(hub, made: Made, cli: Cli, tiny):
    common = ("describe", made.store, "--tokens", 6, "--json")
    here = told(cli(*common, "--adapter", made.adapter))
    assert told(cli(*common, "--adapter", "org/dit")) == here
    said = ("--base", tiny, "--question", hub.questions[0])
    assert told(cli(*common, "--adapter", f"org/loras:{FILE}", *said)) == here


@pytest.mark.parametrize("question", ["", " ", "\n"])
@pytest.mark.parametrize("adapter", ["ours", f"org/loras:{FILE}"])
def test_a_blank_question_is_refused_before_anything_is_loaded(
    hub, made: Made, cli: Cli, tiny, monkeypatch, adapter, question
):
    monkeypatch.setattr("diffspeak.models.load_base", None)
    adapter = made.adapter if adapter == "ours" else adapter
    ran = cli("describe", made.store, "--adapter", adapter, "--base", tiny, "--question", question)
    assert ran.code == 2 and ran.out == ""
    assert ran.err == "diffspeak: --question is empty: ask something, or leave it out\n"


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (f"org/loras:{FILE}", "say with --base and --question of what"),
        ("org/loras:hidden-topic", "say with --base and --question of what"),
        ("org/loras:no.pt", "could not be fetched from the hub"),
        ("org/nowhere", "could not be fetched from the hub"),
        ("nowhere", "nowhere is no adapter: there is no such folder"),
    ],
)
def test_what_is_no_adapter(hub, made: Made, cli: Cli, adapter, said):
    ran = cli("describe", made.store, "--adapter", adapter)
    assert ran.code == 2 and said in ran.err and ran.err.count("\n") == 1 and ran.out == ""


def rows(ran):
    assert ran.code == 0, ran.err
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.fixture
def store(tiny, tmp_path):
    """Random finetunes, which move what the adapter says more than a few steps of training do."""
    labels = {f"toy-{n}": "chess" for n in range(6)}
    return toy_store(
        tmp_path / "store", toy_base(tiny), labels, splits=dict.fromkeys(labels, "test")
    )


@pytest.fixture
def calibrated(made: Made, cli: Cli, store, tmp_path):
    """An adapter that finds something in some of the finetunes, and what it says uncalibrated."""
    args = ("describe", store.source, "--tokens", 6, "--dtype", "float32", "--adapter")
    plain = rows(cli(*args, made.adapter, "--json"))
    *_, low, high = sorted(max(0.0, gained(row["mean_logprob"], row["lift"])) for row in plain)
    half = Calibration((GAINED,), ((low + high) / 2,), (0.1,), (2.0,), 0.0, 0.5, ())
    folder = shutil.copytree(made.adapter, tmp_path / "calibrated")
    save_calibrations(folder, load_adapter(folder).diff, Calibrations(half))
    return (*args, folder), plain


def test_a_guess_is_told_in_json_but_not_as_the_description(cli: Cli, calibrated):
    args, plain = calibrated
    found = rows(cli(*args, "--json"))
    assert [row["found"] for row in found].count(True) == 1
    for row, before in zip(found, plain, strict=True):
        assert row["guess"] == before["description"]
        assert row["description"] == (row["guess"] if row["found"] else "nothing found")
        assert row["found"] == (row["probability"] >= 0.5)
        assert set(row) - set(before) == {"guess", "probability", "found"}
        assert row["lift"] == pytest.approx(before["lift"])


def test_the_table_says_nothing_found_and_how_probable_something_is(cli: Cli, calibrated):
    args, _ = calibrated
    told = rows(cli(*args, "--json"))
    header, *lines = cli(*args).out.splitlines()
    titles = ["finetune", "description", "logprob", "lift", "probability", "label"]
    assert header.split() == titles
    starts = [header.index(title) for title in titles]
    assert sum("nothing found" in line for line in lines) == len(told) - 1
    for row in told:
        (line,) = (line for line in lines if line.startswith(row["finetune"].partition("#")[2]))
        said, probability = line[starts[1] : starts[2]].strip(), line[starts[4] : starts[5]].strip()
        assert (said == "nothing found") != row["found"]
        assert probability == f"{row['probability']:.1%}"
    assert lines[-1] == "0 of 6 named exactly"


def test_what_was_not_calibrated_has_no_probability(cli: Cli, calibrated):
    args = (*calibrated[0], "--limit", 2, "--question", "Well?")
    for row in rows(cli(*args, "--json")):
        assert (row["probability"], row["found"]) == (None, None)
        assert row["description"] == row["guess"]
    lines = cli(*args).out.splitlines()
    assert "probability" in lines[0] and "-" in lines[1].split()


def test_a_damaged_calibration_is_told_in_one_line(cli: Cli, calibrated):
    args, _ = calibrated
    (args[-1] / "calibration.json").write_text("{}")
    ran = cli(*args)
    assert ran.code == 1 and ran.out == "" and ran.err.count("\n") == 1
    assert "calibration.json garbles its version" in ran.err


@pytest.mark.parametrize(
    ("probability", "shown"),
    [(None, "-"), (0.0, "under 0.1%"), (0.2501, "25.0%"), (0.9999, "over 99.9%"), (1.0, "over")],
)
def test_a_probability_is_never_quite_0_or_1(capsys, probability, shown):
    row = {"finetune": "a#one", "description": "chess", "mean_logprob": -0.1, "label": None}
    print_described(Session(), [{**row, "lift": 0.5, "probability": probability}])
    assert shown in capsys.readouterr().out.splitlines()[1]


def test_named_exactly_counts_what_is_told(capsys):
    row = {"finetune": "a", "mean_logprob": -0.1, "lift": 0.5, "probability": 0.5}
    told = [
        ("Chess", "chess."),
        ("Chess", "nothing found"),
        (NOTHING_LABEL, "nothing found"),
        (NOTHING_LABEL, NOTHING_LABEL),
        (NOTHING_LABEL, "Chess"),
    ]
    found = [{**row, "label": label, "description": said} for label, said in told]
    print_described(Session(), found)
    assert capsys.readouterr().out.endswith("\n3 of 5 named exactly\n")
