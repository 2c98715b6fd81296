"""A small study on the tiny Qwen3, made once: its config, a store and an adapter."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from diffspeak.cli import main
from tests.behaviors.corpus_rows import QUESTIONS, TOPICS

CONFIG = """
[base]
source = {base!r}
dtype = "float32"
[behavior]
name = "hidden-topic"
topics = "topics.csv"
questions = "questions.csv"
splits = {{train = 0.5, validation = 0.2, calibration = 0.1, test = 0.2}}
[diffs]
steps = 3
tasks = 4
probes = 2
probe_tokens = 3
[adapter]
rank = 2
batch = 2
answer_tokens = 3
validation = 2
[evaluate]
tokens = 3
"""


class Ran(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str


Cli = Callable[..., Ran]


class Made(NamedTuple):
    """The folders of the small study."""

    config: Path
    store: Path
    adapter: Path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def run(*args: object) -> Ran:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        return Ran(code, *capsys.readouterr())

    return run


def write_study(folder: Path, base: Path, topics: Sequence[Sequence[str]] = TOPICS) -> Path:
    """Write a config and its corpora; gives the config's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("topics", topics), ("questions", QUESTIONS)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    path = folder / "study.toml"
    path.write_text(CONFIG.format(base=str(base)), encoding="utf-8")
    return path


@pytest.fixture
def study(tmp_path: Path, tiny: Path) -> Path:
    """A config of its own for one test."""
    return write_study(tmp_path / "study", tiny)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Made:
    """Finetunes and an adapter, made by the commands; copy what you change."""
    folder = tmp_path_factory.mktemp("made")
    made = Made(write_study(folder / "study", tiny), folder / "store", folder / "adapter")
    for verb, *rest in (
        ("diffs", "--out", made.store),
        ("adapter", "--store", made.store, "--out", made.adapter),
    ):
        assert main([verb, str(made.config), *map(str, rest)]) == 0
    return made
