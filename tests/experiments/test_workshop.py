"""What is asked about finetunes whose behavior has no question of its own."""

from types import SimpleNamespace

import pytest

from diffspeak.errors import UsageError
from diffspeak.experiments.artifacts import Workshop
from diffspeak.experiments.config import ExperimentConfig
from diffspeak.progress import Silent

ASKED = {"topics": ["Topic?", "Which topic?"], "ordinary": []}


@pytest.fixture
def shop(tmp_path):
    """A workshop whose stores are there already, as headers alone."""
    workshop = Workshop(None, tmp_path, Silent())
    for name, questions in ASKED.items():
        behavior = {"name": name, "questions": questions}
        workshop._stores[name] = SimpleNamespace(header=SimpleNamespace(behavior=behavior))
    return workshop


def experiment(*rows):
    topics = {"name": "hidden-topic", "topics": "t.csv", "questions": "q.csv"}
    ordinary = {"name": "ordinary", "questions": "q.csv"}
    data = {
        "name": "x",
        "title": "X",
        "base": {"source": "pocket"},
        "stores": {"topics": {"behavior": topics}, "ordinary": {"behavior": ordinary}},
        "adapters": {"both": {"stores": ["ordinary", "topics"]}, "alone": {"stores": ["ordinary"]}},
        "rows": [{"name": "a row", **row} for row in rows],
    }
    return ExperimentConfig.model_validate(data)


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ({"test": "topics", "adapter": "both"}, "Topic?"),
        ({"test": "ordinary", "adapter": "both"}, "Topic?"),
        ({"test": "ordinary", "adapter": "both", "question": "Well?"}, "Well?"),
        ({"test": "ordinary", "method": "base-question", "question": "Well?"}, "Well?"),
    ],
)
def test_it_is_what_the_adapter_learned(shop, row, question):
    config = experiment(row)
    assert shop.question(config, config.rows[0]) == question


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"test": "ordinary", "method": "base-question"}, "'a row': .* give the row a 'question'"),
        ({"test": "ordinary", "adapter": "alone"}, "give it a store of another behavior"),
    ],
)
def test_where_nobody_knows_it_is_an_error(shop, row, said):
    config = experiment(row)
    with pytest.raises(UsageError, match=said):
        shop.question(config, config.rows[0])


@pytest.mark.parametrize(("kind", "name"), [("adapter", "both"), ("store", "topics")])
def test_a_link_in_the_run_does_not_lead_out_of_it(shop, tmp_path, monkeypatch, kind, name):
    """Neither a store nor an adapter is made where somebody's link points."""
    away = tmp_path.parent / f"{tmp_path.name}-away"
    away.mkdir()
    for folder, link in (("stores", "topics"), ("adapters", "both-seed-0")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / link).symlink_to(away)
    config = experiment({"test": "topics", "adapter": "both"})
    if kind == "store":
        shop._stores.clear()
        behavior = SimpleNamespace(items=lambda: [SimpleNamespace(split="train")])
        monkeypatch.setattr(shop, "behavior", lambda *_: behavior)
    with pytest.raises(UsageError, match=f"{name}.* leads out of"):
        getattr(shop, kind)(config, name, *([0] if kind == "adapter" else []))
    assert not any(away.iterdir())
