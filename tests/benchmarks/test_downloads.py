"""Of the files that fit, the one that pip takes is counted; sides are compared system by system."""

import pytest

from benchmarks.downloads import Wheel, _wheel, rows_of


def file(name, size):
    return {"url": f"https://index/{name}", "size": size}


@pytest.mark.parametrize(
    ("files", "size"),
    [
        ({"wheels": [file("a-1-py3-none-any.whl", 1), file("a-1-cp311-cp311-linux.whl", 2)]}, 2),
        ({"wheels": [file("a-1-py3-none-any.whl", 1)], "sdist": file("a-1.tar.gz", 9)}, 1),
        ({"sdist": file("a-1.tar.gz", 9)}, 9),
    ],
)
def test_the_file_that_fits_best_is_counted(files, size):
    assert _wheel({"name": "a", "version": "1", **files}) == Wheel("a", "1", size)


def test_a_file_on_this_disk_has_the_size_that_it_has(tmp_path):
    local = tmp_path / "a-1+cpu-cp311-cp311-linux.whl"
    local.write_bytes(b"12345")
    found = _wheel({"name": "a", "version": "1+cpu", "wheels": [{"url": local.as_uri()}]})
    assert found == Wheel("a", "1+cpu", 5)


def test_bytes_now_are_held_against_those_before():
    sides = {"before": [Wheel("a", "1", 60), Wheel("b", "1", 40)], "now": [Wheel("a", "1", 70)]}
    rows = {row.name: row for row in rows_of({"macOS": sides, "Linux, torch with CUDA": sides})}
    assert rows["macOS: bytes against before"].value == 0.7
    assert rows["macOS: bytes against before"].met
    assert rows["Linux, torch with CUDA: bytes against before"].met is None
    assert rows["macOS: before"].value == 1e-7
