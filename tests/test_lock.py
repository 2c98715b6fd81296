"""requirements.txt: exact versions for all that pyproject.toml asks for, for any machine."""

import sys
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement

from tests.compatibility.versions import ROOT, direct_dependencies, lock, locked, others

SYSTEMS = [
    {"sys_platform": system, "platform_machine": machine, "python_full_version": f"{python}.9"}
    for system, machine in [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
    for python in ("3.11", "3.12", "3.13")
]


def lines_for(system: dict[str, str]) -> dict[str, Requirement]:
    """The lines that hold on a system."""
    lines = [line for line in lock() if line.marker is None or line.marker.evaluate(system)]
    found = {line.name: line for line in lines}
    assert len(found) == len(lines), "two versions of one package"
    return found


def test_every_version_is_exact_and_no_line_knows_a_machine():
    for line in lock():
        assert [one.operator for one in line.specifier] == ["=="] and not line.url, line
        assert "+" not in str(line.specifier), line
        assert not line.name.startswith(("nvidia", "cuda", "triton")), "torch brings them itself"


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: " ".join(s.values()))
def test_what_we_ask_for_is_locked_within_its_bounds(system):
    lines = lines_for(system)
    for name, wanted in direct_dependencies().items():
        if name == "bitsandbytes" and system["sys_platform"] != "linux":
            continue
        assert name in lines, f"{name} is not locked: run `make lock`"
        pinned = next(iter(lines[name].specifier)).version
        assert wanted.specifier.contains(pinned), f"{wanted} is not {pinned}: run `make lock`"


@pytest.mark.skipif(sys.prefix != str(ROOT / ".venv"), reason="another environment than make's")
def test_the_environment_of_make_has_the_locked_versions():
    found = {}
    for name in locked():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    assert len(found) > 100 and not others(found, locked())
