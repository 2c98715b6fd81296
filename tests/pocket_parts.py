"""What ships with the pocket base, made of tiny random parts, for tests of the way there.

Takes a tiny base's folder; builds a folder laid out as `diffspeak/models/pocket` is, and has the
package look there. Corpus and model card are those that ship, the weights are not.
"""

import shutil
from pathlib import Path

import pytest

from diffspeak.adapters import Adapter, save_adapter
from diffspeak.models import pocket
from tests.toys import base_diff, toy_base

SHIPPED = pocket.base_folder().parent


def tiny_pocket(folder: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a tiny base and a random adapter for each behavior in the place of what ships."""
    shutil.copytree(tiny, folder / "weights")
    shutil.copy(SHIPPED / "weights" / "README.md", folder / "weights")
    (folder / "corpus").symlink_to(SHIPPED / "corpus")
    base = toy_base(tiny)
    for number, behavior in enumerate(pocket.BEHAVIORS):
        adapter = Adapter(
            diff=base_diff(base, rank=2, seed=number),
            base=base.fingerprint,
            base_name=pocket.NAME,
            questions=(f"What is the {behavior}?",),
            behaviors=(behavior,),
            settings={},
            results={},
        )
        save_adapter(adapter, folder / "adapters" / behavior)
    monkeypatch.setattr(pocket, "_HERE", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder
