"""Calibrating an adapter: what is measured, of whom, once, and what comes of it."""

import json
import math
from dataclasses import asdict, replace

import pytest

from diffspeak.adapters import Calibrations, Interpreter
from diffspeak.adapters.calibration import GAINED
from diffspeak.audit import calibrate as calibrating
from diffspeak.audit.auditor import Auditor
from diffspeak.audit.calibrate import FIGURES, Bench, Measured, calibrated, described, evident
from diffspeak.audit.schema import AuditEvidence
from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes import NOTHING, Finetune
from tests.audit.auditing import FEW, random_finetune
from tests.audit.taught import without_numbers
from tests.toys import Recorder, base_diff, changed_parameters, toy_base


@pytest.fixture
def measuring(monkeypatch):
    """In place of measuring: figures by a finetune's label, and who was measured."""
    seen = []

    def gains(self, part):
        seen.extend(one.name for one in part)
        return [0.8 if one.label else 0.1 for one in part]

    def evidence(self, finetunes):
        return [
            AuditEvidence(3.0, 0.5, 1.0, 6.0, 0.2) if f.label else AuditEvidence()
            for f in finetunes
        ]

    monkeypatch.setattr(Bench, "_gains", gains)
    monkeypatch.setattr(Auditor, "evidence", evidence)
    return seen


def labelled(base, count, labels=None):
    names = labels or [f"topic {n}" for n in range(count)]
    return [
        Finetune(f"toy-{n}", diff=base_diff(base, seed=n), base=base.fingerprint, label=names[n])
        for n in range(count)
    ]


def unlabelled(base, count):
    return [replace(random_finetune(base, 100 + n), name=f"none-{n}") for n in range(count)]


def test_what_is_measured_is_what_a_description_gains_and_the_audits_evidence(
    base, adapter, auditor
):
    some = [random_finetune(base), NOTHING, without_numbers(base)]
    found = Bench(auditor).measure("random", some)
    with Interpreter(base, adapter) as interpreter:
        told = interpreter.describe(some)
    assert math.isnan(told[2].lift) and told[0].gained != 0
    evidence = auditor.evidence(some)
    wanted = [
        {"described": one.gained, **asdict(own)} for one, own in zip(told, evidence, strict=True)
    ]
    for own, other in zip(found, wanted, strict=True):
        assert own == pytest.approx(other, abs=1e-4)
        assert tuple(own) == FIGURES
    assert found[2] == dict.fromkeys(FIGURES, 0.0)


def test_nothing_is_measured_twice(base, auditor, measuring, tmp_path):
    kept = tmp_path / "kept.jsonl"
    some = labelled(base, 20)
    first = Bench(auditor, kept).measure("positive", some[:18])
    assert measuring == [one.name for one in some[:18]]
    measuring.clear()
    reporter = Recorder()
    again = Bench(auditor, kept, reporter).measure("positive", some)
    assert measuring == ["toy-18", "toy-19"] and again[:18] == first
    assert reporter.begun == [("evidence, positive", 20, "finetunes", 18)]
    assert (reporter.advanced, reporter.ended) == (2, 1)
    assert len(kept.read_text().splitlines()) == 20


def test_interrupted_it_goes_on(base, auditor, measuring, tmp_path, monkeypatch):
    kept, some = tmp_path / "kept.jsonl", labelled(base, 20)
    whole = Bench(auditor).measure("positive", some)
    measuring.clear()
    monkeypatch.setattr(Recorder, "advance", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Bench(auditor, kept, Recorder()).measure("positive", some)
    done = len(measuring)
    assert 0 < done < 20
    with kept.open("a") as file:
        file.write('{"with": "cut')
    assert Bench(auditor, kept).measure("positive", some) == whole
    assert len(measuring) == 20
    assert len(kept.read_text().splitlines()) == 20


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_another_finetune_of_the_same_name_or_of_another_kind_is_measured(
    base, auditor, measuring, tmp_path
):
    bench = Bench(auditor, tmp_path / "kept.jsonl")
    one = labelled(base, 1)[0]
    other = replace(one, diff=base_diff(base, seed=77))
    whole = replace(one, diff={}, parameters=changed_parameters(base, 3))
    less = replace(whole, parameters=changed_parameters(base, 4))
    for finetune in (one, other, whole, less):
        bench.measure("positive", [finetune])
    bench.measure("random", [one])
    assert measuring == ["toy-0"] * 5


def test_what_another_adapter_or_setting_measured_does_not_count(
    base, adapter, auditor, measuring, tmp_path
):
    kept, some = tmp_path / "kept.jsonl", labelled(base, 1)
    others = (
        Auditor(base, replace(adapter, diff=base_diff(base, rank=2, seed=8)), FEW),
        Auditor(base, adapter, FEW.model_copy(update={"scored": 3})),
        Auditor(base, replace(adapter, calibrations=Calibrations(controls=("a", "b"))), FEW),
    )
    for one in (auditor, *others, auditor):
        Bench(one, kept).measure("positive", some)
    assert measuring == ["toy-0"] * 4


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1]",
        "{}",
        '{"with": "a", "kind": "b", "finetune": "c", "figures": {}}',
        '{"with": "a", "kind": "b", "finetune": 3, "figures": ALL}',
        '{"with": "a", "kind": "b", "finetune": "c", "figures": {"described": "much"}}',
        '{"with": "a", "kind": "b", "finetune": "c", "figures": NaN}',
    ],
)
def test_a_damaged_file_is_refused_by_name(auditor, tmp_path, line):
    kept = tmp_path / "kept.jsonl"
    kept.write_text(line.replace("ALL", json.dumps(dict.fromkeys(FIGURES, 0.5))) + "\n")
    with pytest.raises(CorruptFileError, match=r"kept\.jsonl is damaged .*remove it"):
        Bench(auditor, kept)


def test_an_adapter_gets_two_calibrations_and_labels_to_compare_with(base, adapter, measuring):
    labels = ["chess", "tea", *[f"topic {n}" for n in range(58)]]
    positives = labelled(base, 60, labels)
    made = calibrated(base, adapter, positives, {"ordinary": unlabelled(base, 25)})
    kinds = [(one.kind, one.found, one.n) for one in made.calibrations.describe.counted]
    assert kinds == [
        ("positive", 60, 60),
        ("ordinary", 0, 25),
        ("random", 0, 180),
        ("shuffled", 0, 180),
    ]
    assert made.calibrations.describe.names == (GAINED,)
    assert made.calibrations.audit.names == tuple(asdict(AuditEvidence()))
    assert made.calibrations.audit.counted == made.calibrations.describe.counted
    assert made.calibrations.controls == tuple(labels[:40])
    assert replace(made, calibrations=adapter.calibrations) == adapter
    assert len(measuring) == 60 + 25 + 3 * 60 + 3 * 60
    found = Auditor(base, made, FEW)._verifier.controls
    assert found == tuple(labels[:40])


def test_random_and_shuffled_changes_are_made_of_low_rank_finetunes_only(base):
    whole = Finetune("whole", parameters=changed_parameters(base, 2))
    made = calibrating.made_of([*labelled(base, 2), whole])
    assert {kind: len(own) for kind, own in made.items()} == {"random": 6, "shuffled": 6}
    for kind, own in made.items():
        assert [one.name for one in own][:3] == [
            f"toy-0, {kind}",
            f"toy-1, {kind}",
            f"toy-0, {kind} 1",
        ]
        assert len({next(iter(one.diff.values())).A.flatten()[0].item() for one in own}) > 2
        assert {one.label for one in own} == {None}


@pytest.mark.parametrize(
    ("positives", "negatives", "said"),
    [
        (3, 25, "there are 3 of positive, 9 of random, 9 of shuffled; give more"),
        (20, 7, "there are 7 of ordinary; give more"),
        (0, 0, "there are 0 of positive, 0 of ordinary, 0 of random, 0 of shuffled"),
    ],
)
def test_too_few_are_refused_before_anything_is_measured(
    base, adapter, measuring, positives, negatives, said
):
    some = labelled(base, positives)
    with pytest.raises(UsageError, match=said):
        calibrated(base, adapter, some, {"ordinary": unlabelled(base, negatives)})
    assert measuring == []


def test_finetunes_of_another_base_are_refused(base, adapter, family_folder):
    other = toy_base(family_folder("llama3"))
    positives = [replace(one, base=other.fingerprint) for one in labelled(base, 20)]
    with pytest.raises(MismatchError, match="toy-0 was made for another base"):
        calibrated(base, adapter, positives, {})


def test_figures_are_told_by_who_goes_by_them():
    one = Measured(described=1.0, lift=2.0, said=0.1, likelier=3.0, stands_out=4.0, shown=0.5)
    assert described([one]) == [{GAINED: 1.0}]
    assert evident([one]) == [
        {"lift": 2.0, "said": 0.1, "likelier": 3.0, "stands_out": 4.0, "shown": 0.5}
    ]
