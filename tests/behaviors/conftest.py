"""Small corpora that the tests of this room write and read."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.behaviors.corpus_rows import QUESTIONS, TOPICS, WriteCsv


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    """Write rows, the header first, to a CSV file of the test's folder."""

    def write(name: str, rows: Sequence[Sequence[str]]) -> Path:
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    return write


@pytest.fixture
def topics(write_csv: WriteCsv) -> Path:
    return write_csv("topics.csv", TOPICS)


@pytest.fixture
def questions(write_csv: WriteCsv) -> Path:
    return write_csv("questions.csv", QUESTIONS)
