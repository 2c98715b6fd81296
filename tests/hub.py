"""A hub's cache on disk, laid out as huggingface_hub does, so that hub ids open without a network.

Gives folders to fill, a revision of a repository each. Knows nothing of what is put there.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest

MAIN, OTHER = "a" * 40, "b" * 40
"""Names of commits."""

Add = Callable[..., Path]
"""From repository, and commit and branch if need be, to the folder of that revision."""


def empty_hub(root: Path, patch: pytest.MonkeyPatch) -> Add:
    """An empty cache; gives a function that adds a repository's revision."""
    patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root))

    def add(repo: str, commit: str = MAIN, branch: str = "main") -> Path:
        folder = root / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True, exist_ok=True)
        (folder / "refs" / branch).write_text(commit)
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        return snapshot

    return add


def put(snapshot: Path, name: str, content: bytes) -> None:
    """Put a file into a revision as the hub does: a link to a blob beside all revisions."""
    blob = snapshot.parents[1] / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir(exist_ok=True)
    blob.write_bytes(content)
    (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
    (snapshot / name).symlink_to(blob)
