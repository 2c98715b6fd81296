"""`diffspeak calibrate`: which finetunes count as what, what is written, and what is refused."""

import json

import pytest

from diffspeak.adapters import Adapter, load_adapter, save_adapter
from diffspeak.adapters.calibration import GAINED, gained
from diffspeak.audit.auditor import Auditor
from diffspeak.audit.calibrate import Bench
from diffspeak.audit.schema import AuditEvidence
from diffspeak.behaviors.ordinary import NOTHING_LABEL
from diffspeak.io.files import exclusive
from tests.cli.conftest import Cli
from tests.toys import base_diff, toy_base, toy_store

SEEN: list[str] = []


@pytest.fixture(scope="module")
def base(tiny):
    return toy_base(tiny)


@pytest.fixture(scope="module")
def stores(base, tmp_path_factory):
    """20 topics for calibration and 2 of other splits; 21 finetunes that were taught nothing."""
    folder = tmp_path_factory.mktemp("stores")
    topics = {f"toy-{n}": f"topic {n}" for n in range(22)}
    splits = dict.fromkeys(topics, "calibration") | {"toy-20": "train", "toy-21": "test"}
    toy_store(folder / "topics", base, topics, splits=splits)
    nothing = dict.fromkeys([f"none-{n}" for n in range(21)], NOTHING_LABEL)
    calibration = dict.fromkeys(nothing, "calibration")
    toy_store(folder / "ordinary", base, nothing, seed=5, splits=calibration, behavior="ordinary")
    return folder


@pytest.fixture
def adapter(base, tmp_path):
    diff = base_diff(base, rank=2, seed=9)
    made = Adapter(
        diff,
        base.fingerprint,
        base.name,
        ("Topic?",),
        ("toy", "ordinary"),
        {"nothing": NOTHING_LABEL},
        {},
    )
    save_adapter(made, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture(autouse=True)
def measuring(monkeypatch):
    """In place of measuring: topics have evidence, all others have none."""
    SEEN.clear()

    def taught(finetune):
        return finetune.name.startswith("toy-") and "," not in finetune.name

    def gains(self, part):
        SEEN.extend(one.name for one in part)
        return [0.8 if taught(one) else 0.1 for one in part]

    def evidence(self, finetunes):
        return [
            AuditEvidence(3.0, 0.5, 1.0, 6.0, 0.2) if taught(f) else AuditEvidence()
            for f in finetunes
        ]

    monkeypatch.setattr(Bench, "_gains", gains)
    monkeypatch.setattr(Auditor, "evidence", evidence)


def of_all(stores):
    return ("--store", stores / "topics", "--store", stores / "ordinary")


def test_two_calibrations_and_their_counts(adapter, stores, cli: Cli):
    ran = cli("calibrate", adapter, *of_all(stores))
    assert ran.code == 0, ran.err
    header, *lines = ran.out.splitlines()
    assert header.split() == ["for", "finetunes", "called", "something"]
    counts = ["positive 20 of 20", "ordinary 0 of 21", "random 0 of 60", "shuffled 0 of 60"]
    told = [" ".join(line.split()) for line in lines[:8]]
    assert told == [f"{name} {count}" for name in ("describe", "audit") for count in counts]
    assert lines[-1] == f"done: {adapter}"
    made = load_adapter(adapter).calibrations
    assert made.describe is not None and made.audit is not None
    assert made.controls == tuple(f"topic {n}" for n in range(20))
    assert len(SEEN) == 20 + 21 + 60 + 60 and "toy-20" not in SEEN and "toy-21" not in SEEN


def test_descriptions_say_nothing_found_from_then_on(adapter, stores, cli: Cli):
    cli("calibrate", adapter, *of_all(stores))
    args = ("describe", stores / "topics", "--limit", 1, "--adapter", adapter, "--tokens", 2)
    (row,) = map(json.loads, cli(*args, "--json").out.splitlines())
    calibration = load_adapter(adapter).calibrations.describe
    known = {GAINED: gained(row["mean_logprob"], row["lift"])}
    assert row["probability"] == pytest.approx(calibration.probability(known))
    assert row["description"] == (row["guess"] if row["found"] else "nothing found")


def test_the_same_command_again_measures_nothing(adapter, stores, cli: Cli):
    first = cli("calibrate", adapter, *of_all(stores))
    before = (adapter / "calibration.json").read_bytes()
    SEEN.clear()
    assert cli("calibrate", adapter, *of_all(stores)).out == first.out
    assert SEEN == [] and (adapter / "calibration.json").read_bytes() == before


def test_interrupted_the_same_command_goes_on(adapter, stores, cli: Cli, monkeypatch):
    plain = Bench.measure

    def until_random(self, kind, finetunes):
        if kind == "random":
            raise KeyboardInterrupt
        return plain(self, kind, finetunes)

    monkeypatch.setattr(Bench, "measure", until_random)
    assert cli("calibrate", adapter, *of_all(stores)).code == 130
    assert not (adapter / "calibration.json").exists() and len(SEEN) == 41
    monkeypatch.setattr(Bench, "measure", plain)
    assert cli("calibrate", adapter, *of_all(stores)).code == 0
    assert len(SEEN) == len(set(SEEN)) == 161


@pytest.mark.parametrize(
    ("names", "split", "said"),
    [
        (["ordinary"], "calibration", "no finetune of the split 'calibration' was taught what"),
        (["topics"], "test", "there are 1 of positive, 3 of random, 3 of shuffled; give more"),
        (["topics"], "validation", "holds no finetune in the split validation"),
        (["nowhere"], "calibration", "nowhere"),
    ],
)
def test_what_is_too_few_or_nothing(adapter, stores, cli: Cli, names, split, said):
    given = [part for name in names for part in ("--store", stores / name)]
    ran = cli("calibrate", adapter, *given, "--split", split)
    assert ran.code != 0 and ran.out == "" and said in ran.err and SEEN == []
    assert not (adapter / "calibration.json").exists()


def test_what_is_no_folder_of_an_adapter(adapter, stores, cli: Cli, tmp_path):
    for name in ("pocket:hidden-topic", tmp_path / "none", adapter / "diffspeak.json"):
        ran = cli("calibrate", name, *of_all(stores))
        assert ran.code == 2 and "is no folder: give the one that `diffspeak adapter`" in ran.err
    ran = cli("calibrate", tmp_path, *of_all(stores))
    assert ran.code == 2 and "is no adapter: it holds no diffspeak.json" in ran.err
    assert cli("calibrate", adapter).code == 2


def test_a_folder_that_another_process_writes_is_left_alone(adapter, stores, cli: Cli):
    with exclusive(adapter / ".lock"):
        ran = cli("calibrate", adapter, *of_all(stores))
    assert ran.code == 1 and "is being written by process" in ran.err and SEEN == []


@pytest.mark.parametrize("name", ["calibration.json", "calibration.jsonl"])
def test_damaged_files_of_before_are_named_with_what_to_do(adapter, stores, cli: Cli, name):
    assert cli("calibrate", adapter, *of_all(stores)).code == 0
    (adapter / name).write_text("{}\n")
    ran = cli("calibrate", adapter, *of_all(stores))
    assert ran.code == 1 and ran.err.count("\n") >= 1
    assert f"{name} " in ran.err and "remove it" in ran.err
    (adapter / name).unlink()
    assert cli("calibrate", adapter, *of_all(stores)).code == 0
