"""Calibrations beside their adapter: read back as written, and never with another adapter."""

import json
import math
from dataclasses import replace

import pytest

from diffspeak.adapters import (
    Adapter,
    Calibration,
    Calibrations,
    Counted,
    load_adapter,
    save_adapter,
    save_calibrations,
)
from diffspeak.adapters.calibration import FILE, GAINED, gained
from diffspeak.behaviors.ordinary import NOTHING_LABEL
from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.finetunes import digest_of
from tests.toys import base_diff

COUNTED = (Counted("positive", 88, 90), Counted("random", 0, 90))
ALONE = Calibration((GAINED,), (1.0,), (2.0,), (3.0,), -0.5, 0.8125, COUNTED)
BOTH = Calibration(("lift", "shown"), (1.0, 0.1), (2.0, 0.3), (3.0, 0.0), 0.1, 0.7, COUNTED)
MADE = Calibrations(ALONE, BOTH, ("glass blowing", "\u0447\u0430\u0439", "\u8336"))


@pytest.mark.parametrize(
    ("mean_logprob", "lift", "wanted"),
    [
        (math.log(0.9), math.log(9.0), 0.8),
        (math.log(0.1), math.log(0.5), -0.1),
        (-0.5, 0.0, 0.0),
        (-30.0, 25.0, 0.0),
        (-0.1, -1.0, math.exp(-0.1) - 1.0),
        (1e-7, 5.0, 1.0 - math.exp(-5.0)),
        (math.nan, 1.0, 0.0),
        (-1.0, math.nan, 0.0),
        (-math.inf, -math.inf, 0.0),
    ],
)
def test_what_is_gained_is_a_difference_of_probabilities(mean_logprob, lift, wanted):
    assert gained(mean_logprob, lift) == pytest.approx(wanted, abs=1e-6)


def adapter_of(base, seed=9, rank=2, scaling=1.5, **changed):
    diff = base_diff(base, rank=rank, seed=seed, scaling=scaling)
    made = Adapter(diff, base.fingerprint, base.name, ("Topic?",), ("toy",), {}, {})
    return replace(made, **changed)


@pytest.fixture
def folder(base, tmp_path):
    save_adapter(adapter_of(base, calibrations=MADE), tmp_path / "adapter")
    return tmp_path / "adapter"


def test_they_are_read_as_they_were_written(folder):
    assert load_adapter(folder).calibrations == MADE
    assert json.loads((folder / FILE).read_text())["version"] == 1


@pytest.mark.parametrize("made", [Calibrations(ALONE), Calibrations(audit=BOTH), Calibrations()])
def test_one_of_them_alone_will_do(base, folder, made):
    save_calibrations(folder, adapter_of(base).diff, made)
    assert load_adapter(folder).calibrations == made


def test_without_the_file_there_are_none(base, tmp_path):
    save_adapter(adapter_of(base), tmp_path / "adapter")
    assert not (tmp_path / "adapter" / FILE).exists()
    assert load_adapter(tmp_path / "adapter").calibrations == Calibrations()


@pytest.mark.parametrize(("rank", "scaling"), [(3, 0.5), (7, 1 / 7), (16, 1 / 16)])
def test_weights_are_known_again_after_they_were_written(base, tmp_path, rank, scaling):
    adapter = adapter_of(base, rank=rank, scaling=scaling, calibrations=MADE)
    save_adapter(adapter, tmp_path)
    read = load_adapter(tmp_path)
    assert digest_of(read.diff) == digest_of(adapter.diff)
    assert read.calibrations == MADE


def test_they_are_of_no_use_to_another_adapter(base, folder):
    save_adapter(adapter_of(base, seed=8), folder)
    with pytest.raises(MismatchError, match="was made for another adapter than the one beside it"):
        load_adapter(folder)
    (folder / FILE).unlink()
    assert load_adapter(folder).calibrations == Calibrations()


def test_those_of_a_newer_version_are_refused(folder):
    change(folder, version=2)
    with pytest.raises(MismatchError, match=r"is of version 2, this diffspeak reads up to 1; upg"):
        load_adapter(folder)


def change(folder, **parts):
    content = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**content, **parts}))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"version": None}, "its version"),
        ({"version": "1"}, "its version"),
        ({"describe": []}, "describe: it lacks or garbles"),
        ({"describe": {**ALONE.to_dict(), "scales": [0]}}, "describe: its figures do not fit"),
        ({"describe": {**ALONE.to_dict(), "counted": 1e999}}, "is not valid JSON"),
        ({"describe": BOTH.to_dict()}, "describe: it goes by other figures than what is gained"),
        ({"audit": {**BOTH.to_dict(), "means": [1.0]}}, "do not fit together"),
        ({"audit": {}}, "audit: it lacks or garbles 'names'"),
        ({"audit": 7}, "audit: it lacks or garbles"),
        ({"controls": None}, "controls"),
        ({"controls": ["a", 1]}, "controls"),
    ],
)
def test_damaged_ones_are_refused_with_what_is_damaged(folder, parts, said):
    change(folder, **parts)
    with pytest.raises(CorruptFileError, match=said) as error:
        load_adapter(folder)
    assert str(folder / FILE) in str(error.value) and "remove it" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b"null", b"[" * 100_000])
def test_what_is_no_json_or_something_else(folder, content):
    (folder / FILE).write_bytes(content)
    with pytest.raises(CorruptFileError, match=FILE):
        load_adapter(folder)


@pytest.mark.parametrize(
    ("behaviors", "settings", "wanted"),
    [
        (("toy",), {}, None),
        (("toy",), {"negatives": 0.0, "nothing": "Not a thing."}, None),
        (("toy",), {"negatives": 0.5, "nothing": "Not a thing."}, "Not a thing."),
        (("toy", "ordinary"), {"nothing": "Not a thing."}, "Not a thing."),
        (("toy", "ordinary"), {}, NOTHING_LABEL),
    ],
)
def test_what_it_says_of_nothing(base, behaviors, settings, wanted):
    assert adapter_of(base, behaviors=behaviors, settings=settings).nothing == wanted
