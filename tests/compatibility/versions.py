"""Which versions pyproject.toml asks for, requirements.txt locks, and an environment has."""

import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def direct_dependencies() -> dict[str, Requirement]:
    """What the package and its extra `dev` ask for themselves on this system, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    waiting, found = [*project["dependencies"], *extras["dev"]], {}
    for requirement in map(Requirement, waiting):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if requirement.name == project["name"]:
            waiting += [one for extra in requirement.extras for one in extras[extra]]
        else:
            found[requirement.name] = requirement
    return dict(sorted(found.items()))


def lock() -> list[Requirement]:
    """The lines of requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def locked() -> dict[str, str]:
    """The locked version of each package."""
    return {line.name: next(iter(line.specifier)).version for line in lock()}


def floors() -> dict[str, str]:
    """The lowest version that pyproject.toml allows of each direct dependency."""
    needed = direct_dependencies().values()
    return {r.name: one.version for r in needed for one in r.specifier if one.operator == ">="}


def installed() -> dict[str, str]:
    """The version of each direct dependency in this environment."""
    return {name: version(name) for name in direct_dependencies()}


def others(found: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Those of `found` that are not the version that is wanted; 2.13.0+cpu is torch 2.13.0."""
    return {
        name: version
        for name, version in found.items()
        if name not in wanted or _public(version) != _public(wanted[name])
    }


def _public(version: str) -> Version:
    return Version(Version(version).public)
