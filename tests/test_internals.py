"""Private parts of a library are used in one file of ours, and that library is bounded above."""

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "diffspeak"
FILES = {
    "torch": ("torch_internals.py",),
    "transformers": ("models/transformers_internals.py",),
    "inspect-ai": ("inspect_ext/inspect_internals.py",),
}
"""Which files use private parts, by library."""
DOCUMENTED = {"_asdict", "_fields", "_replace", "_exit"}
"""Of named tuples and `os`: public in spite of their names."""


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in DOCUMENTED


def _members(tree: ast.AST) -> Iterator[str]:
    """Every name that a file gives to an attribute of its own classes and objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        for inner in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                yield inner.name
            elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                yield inner.target.id


def _private_uses(tree: ast.AST, own: set[str]) -> Iterator[str]:
    """Private modules, names and attributes of others that a file uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("diffspeak"):
            for name in node.names:
                path = f"{node.module}.{name.name}"
                if any(map(_is_private, path.split("."))):
                    yield path
        elif isinstance(node, ast.Import):
            yield from (x.name for x in node.names if any(map(_is_private, x.name.split("."))))
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in own:
            yield ast.unparse(node)


def _found(trees: dict[str, ast.AST]) -> dict[str, list[str]]:
    own = {name for tree in trees.values() for name in _members(tree)}
    uses = {path: list(_private_uses(tree, own)) for path, tree in trees.items()}
    return {path: found for path, found in uses.items() if found}


def test_private_parts_of_libraries_are_used_in_their_files_alone():
    sources = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    found = _found({path: ast.parse(file.read_text()) for path, file in sources.items()})
    assert found.keys() <= {path for paths in FILES.values() for path in paths}, found


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("from library._inner import thing", "library._inner.thing"),
        ("from library import _thing", "library._thing"),
        ("import library._inner", "library._inner"),
        ("_inner = library.thing._inner", "library.thing._inner"),
        ("given()._inner", "given()._inner"),
    ],
)
def test_a_private_part_is_noticed(code, used):
    assert _found({"file.py": ast.parse(code)}) == {"file.py": [used]}


@pytest.mark.parametrize("code", ["self._own = 1; other._own", "os._exit(1)", "x._replace(y=1)"])
def test_our_own_and_documented_names_are_not_private_parts(code):
    assert not _found({"file.py": ast.parse(code)})


@pytest.mark.parametrize("library", [library for library in FILES if library != "re"])
def test_the_library_is_bounded_above(library):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]
    bounds = [r.specifier for r in map(Requirement, named) if r.name == library]
    assert bounds and all(any(one.operator == "<" for one in bound) for bound in bounds)
