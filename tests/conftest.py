"""What every test can ask for: tiny checkpoints of five families, built once a session.

Sets the process up before transformers is imported: no network, one thread. The folders are
shared by all tests (and by all workers of pytest-xdist): copy one before changing it.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from diffspeak.models import Base

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def pytest_configure() -> None:
    os.environ.update(OFFLINE)
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def same_dtype_everywhere() -> Iterator[None]:
    """Dtype auto is float32, whatever would be faster here: what is compared is not rounded."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ("diffspeak.models.placement", "diffspeak.estimate.sizes"):
            patch.setattr(f"{place}.faster_dtype", lambda device: torch.float32)
        yield


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The checkpoint folder of a family of `tests.families.FAMILIES`, by name."""
    # Imported here, after the environment is set.
    from tests.families import cached_family

    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    root = root / "families"
    root.mkdir(exist_ok=True)
    return lambda name: cached_family(name, root)


@pytest.fixture(scope="session")
def tiny(family_folder: Callable[[str], Path]) -> Path:
    """The folder of the tiny Qwen3."""
    return family_folder("qwen3")


@pytest.fixture(scope="session")
def base(tiny: Path) -> "Base":
    """The tiny Qwen3 in float32 with nothing attached; each test leaves it as it was."""
    from tests.toys import toy_base

    return toy_base(tiny)
