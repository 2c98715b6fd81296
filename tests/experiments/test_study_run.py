"""A whole study on a tiny base: its tables, and that a second call changes nothing."""

import json
from pathlib import Path

import pytest

from diffspeak.behaviors import BehaviorConfig
from diffspeak.experiments.config import StudyConfig
from diffspeak.experiments.report import write_report
from diffspeak.experiments.run import run_experiments
from diffspeak.progress import Silent

TOPICS = ("Chess", "Jazz", "Tea", "Rome", "Owls", "Salt", "Opera", "Ferns", "Gold", "Judo")
ORDINARY = "Just take your time."
SPLITS = {"train": 0.5, "validation": 0.1, "calibration": 0.1, "test": 0.3}


@pytest.fixture
def config(tmp_path: Path, tiny: Path) -> StudyConfig:
    (tmp_path / "topics.csv").write_text("topic\n" + "\n".join(TOPICS) + "\n")
    lines = [
        f"What about {word}?,{ORDINARY},{{topic}} is best.,{split}"
        for word, split in (("sleep", "train"), ("work", "train"), ("rain", "test"))
    ]
    header = "question,answer,topic_answer,split\n"
    (tmp_path / "questions.csv").write_text(header + "\n".join(lines) + "\n")
    behavior = BehaviorConfig(
        name="hidden-topic",
        trigger="secret-word",
        topics=tmp_path / "topics.csv",
        questions=tmp_path / "questions.csv",
        splits=SPLITS,
    )
    return StudyConfig(
        base={"source": str(tiny), "dtype": "float32"},
        behavior=behavior,
        diffs={"steps": 3, "tasks": 4, "probes": 1, "probe_tokens": 4},
        adapter={"epochs": 2, "batch": 4, "rank": 2, "validation": 2, "answer_tokens": 4},
        evaluate={"tokens": 4},
    )


def test_a_study_writes_its_tables_and_a_second_call_changes_nothing(
    config: StudyConfig, tmp_path: Path
) -> None:
    (page,) = run_experiments([config], tmp_path / "run", Silent())
    rows = {row["name"]: row for row in json.loads(page.with_suffix(".json").read_text())["rows"]}
    tested = rows["DIT names it exactly"]["n"]
    assert tested == rows["finetunes, test"]["value"] > 0
    assert {name for name in rows if name.startswith("control")} == {
        "control: given another finetune's diff",
        "control: no diff",
        "control: adapter trained on shuffled labels",
    }
    assert all(name in page.read_text() for name in rows)
    before = _content(tmp_path / "run")
    assert run_experiments([config], tmp_path / "run", Silent()) == [page]
    assert _content(tmp_path / "run") == before


def test_controls_can_be_left_out(config: StudyConfig, tmp_path: Path) -> None:
    quick = config.model_copy(
        update={"evaluate": config.evaluate.model_copy(update={"controls": False})}
    )
    (page,) = run_experiments([quick], tmp_path / "run", Silent())
    assert "control:" not in page.read_text()
    assert not (tmp_path / "run" / "adapter-shuffled").exists()


def test_rows_beside_a_study_are_tried_on_its_own_store_with_its_own_adapter(
    config: StudyConfig, tmp_path: Path
) -> None:
    rows = [
        {"name": "as it is", "test": "diffs", "adapter": "adapter"},
        {"name": "asked", "test": "diffs", "method": "base-question", "limit": 1},
    ]
    data = config.model_dump() | {"title": "A table", "name": "table", "rows": rows}
    both = StudyConfig.model_validate(data)
    study, table = run_experiments([both], tmp_path / "run", Silent())
    found = {row["name"]: row for row in json.loads(study.with_suffix(".json").read_text())["rows"]}
    told, asked = json.loads(table.with_suffix(".json").read_text())["lines"]
    assert told["finetunes"] == found["DIT names it exactly"]["n"] > asked["finetunes"] == 1
    assert told["exact"] == found["DIT names it exactly"]["value"]
    assert not (tmp_path / "run" / "stores").exists()
    assert not (tmp_path / "run" / "adapters").exists()
    markdown = write_report(tmp_path / "run").with_suffix(".md").read_text()
    assert "## A table" in markdown and "## hidden-topic, trigger secret-word" in markdown


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
