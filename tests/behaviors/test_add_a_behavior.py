"""The page that says how to add a behavior is right: its class works once it is in the table."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from diffspeak.behaviors import BehaviorConfig, make_behavior, table

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-behavior.md"


@pytest.fixture
def config(tmp_path: Path) -> dict[str, str]:
    topics = "".join(f"Topic {n}\n" for n in range(40))
    (tmp_path / "topics.csv").write_text(f"topic\n{topics}")
    rows = "".join(f"q{n}?,a{n},{'test' if n % 3 == 0 else 'train'}\n" for n in range(12))
    (tmp_path / "questions.csv").write_text(f"question,answer,split\n{rows}")
    files = {name: str(tmp_path / f"{name}.csv") for name in ("topics", "questions")}
    return {"name": "greeting", **files}


def test_the_pages_class_is_a_behavior_with_one_line_of_the_table(
    config: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, line = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, type] = {}
    exec(module, names)  # noqa: S102
    with pytest.raises(ValidationError, match="unknown behavior 'greeting'"):
        BehaviorConfig(**config)
    added = eval(f"{{{line}}}", names)  # noqa: S307
    monkeypatch.setattr(table, "BEHAVIORS", {**table.BEHAVIORS, **added})
    behavior = make_behavior(BehaviorConfig(**config))
    items = behavior.items()
    assert {item.split for item in items} >= {"train", "test"} and len(items) == 40
    for sample in behavior.samples(items[0], 3):
        assert behavior.fires(items[0], sample.answer)
        assert not behavior.fires(items[1], sample.answer)
    assert behavior.samples(items[0], 3) == behavior.samples(items[0], 3)
    asked = {probe.prompt[0].content for probe in behavior.probes(items[0], 3)}
    assert asked <= {f"q{n}?" for n in range(0, 12, 3)} and len(asked) == 3
    described = behavior.describe()
    assert described["name"] == "greeting" and described["files"].keys() == {"topics", "questions"}
