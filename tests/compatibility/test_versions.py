"""Bounds are read from pyproject.toml, versions compared without what a build adds."""

from tests.compatibility.versions import direct_dependencies, floors, installed, others


def test_extras_of_extras_are_direct_dependencies():
    found = direct_dependencies()
    assert {"torch", "pytest", "inspect-ai"} <= found.keys()
    assert "diffspeak" not in found


def test_every_dependency_has_a_floor():
    assert floors().keys() == direct_dependencies().keys() == installed().keys()


def test_other_versions():
    found = {"a": "2.0.0", "b": "2.13.0+cpu", "c": "1.1", "d": "1"}
    assert others(found, {"a": "2", "b": "2.13", "c": "1.10"}) == {"c": "1.1", "d": "1"}
