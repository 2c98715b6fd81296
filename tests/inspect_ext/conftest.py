"""A store of random finetunes of the pocket base, one of them whole; models that answer from it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from inspect_ai.model import Model, get_model

LABELS = {"chess": "chess", "sea": "volcanoes, and the sea", "whole": "tea", "lost": "coins"}


@pytest.fixture(autouse=True)
def at_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """inspect-ai keeps traces and buffers in the user's folders: here they are empty ones."""
    home = tmp_path_factory.getbasetemp() / "inspect"
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("INSPECT_LOG_DIR", str(home / "logs"))
    monkeypatch.delenv("INSPECT_EVAL_MODEL", raising=False)


@pytest.fixture(scope="session")
def base():
    # Imported here, after the environment is set.
    from diffspeak.models import load_base

    return load_base("pocket", dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def store(base, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store's folder."""
    from tests.toys import toy_store

    folder = tmp_path_factory.mktemp("inspection") / "store"
    splits = {"sea": "test"}
    toy_store(folder, base, LABELS, splits=splits, full=("whole",), failed=("lost",))
    return str(folder)


@pytest.fixture
def model() -> Iterator[Callable[..., Model]]:
    """Make a model by its name and args; closed at the end."""
    made: list[Model] = []

    def make(name: str, **args: Any) -> Model:
        plain = {"dtype": "float32", "device": "cpu"}
        made.append(get_model(f"diffspeak/{name}", memoize=False, **{**plain, **args}))
        return made[-1]

    yield make
    for one in made:
        one.api.close()


def say(model: Model, *prompts: Any, **config: Any) -> list[Any]:
    """What a model puts out for prompts that are asked at the same time."""
    from inspect_ai.model import GenerateConfig

    async def ask() -> list[Any]:
        how = GenerateConfig(**config)
        return await asyncio.gather(*(model.generate(prompt, config=how) for prompt in prompts))

    return asyncio.run(ask())
