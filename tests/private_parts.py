"""Looks for a private part of a library, and says in one sentence what its absence breaks."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

import pytest


def private_part(library: str, path: str, kept_in: str, used_for: str) -> Any:
    """Give what lies at a path such as `torch.utils._pytree.tree_leaves`, or fail.

    Args:
        library: Its name in pyproject.toml.
        path: Module and name.
        kept_in: Our one file that uses it.
        used_for: What no longer works without it.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        pytest.fail(
            f"{library} {version(library)} has no {path} any more, and without it {used_for} does "
            f"not work: mend {kept_in}, or lower the bound on {library} in pyproject.toml",
            pytrace=False,
        )
