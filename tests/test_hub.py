"""What may be a name on the hub, and what cannot; bytes are told in units that add up."""

import pytest

from diffspeak.errors import UsageError
from diffspeak.hub import ByteMeter, HubId, hub_id, size_of
from tests.toys import Recorder


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("org/name", HubId("org/name", None, "")),
        ("org/name@v2:deep/er/", HubId("org/name", "v2", "deep/er")),
        ("a-b/c.d_e:f.pt", HubId("a-b/c.d_e", None, "f.pt")),
        ("name", None),
        ("a/b/c", None),
        ("./a", None),
        ("../a", None),
        ("a/..", None),
        ("a/.b", None),
        ("/a", None),
        ("org/name#key", None),
        ("\u043erg/name", None),
    ],
)
def test_the_parts_of_a_name(typed, parts):
    assert hub_id(typed) == parts


def test_a_subfolder_stays_inside():
    with pytest.raises(UsageError, match="may not leave its repository"):
        hub_id("org/name:a/../..")


@pytest.mark.parametrize(
    ("total", "units", "unit"),
    [
        (0, 0, "bytes"),
        (9_999, 9_999, "bytes"),
        (10_001, 11, "kB"),
        (9_999_999, 10_000, "kB"),
        (8_045_000_001, 8046, "MB"),
    ],
)
def test_units(total, units, unit):
    watch = Recorder()
    meter = ByteMeter(watch, "download", total)
    assert watch.begun == [("download", units, unit, 0)]
    for part in (total // 3, total // 3, -(total // 9)):
        meter.add(part)
    assert watch.advanced <= units
    meter.reach(2 * total)
    meter.end()
    assert watch.advanced == units and watch.ended == 1


def test_what_is_less_than_a_unit_is_not_lost():
    watch = Recorder()
    meter = ByteMeter(watch, "download", 2_000_000)
    for _ in range(15):
        meter.add(100)
    assert watch.advanced == 2
    meter.add(-1000)
    assert watch.advanced == 1


def test_sizes_in_words():
    sizes = (0, 999, 1000, 8_045_678_901, 12_345_678)
    assert [size_of(size) for size in sizes] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "8.05 GB",
        "12.3 MB",
    ]
