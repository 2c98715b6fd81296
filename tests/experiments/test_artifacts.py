"""What is asked about finetunes, and that nothing leads out of a run."""

from types import SimpleNamespace

import pytest

from diffspeak.errors import UsageError
from diffspeak.experiments.artifacts import Artifacts, inside
from diffspeak.experiments.config import ExperimentConfig
from diffspeak.progress import Silent

ASKED = {"topics": ["Topic?", "Which topic?"], "ordinary": []}


@pytest.fixture
def shop(tmp_path):
    """Makes artifacts whose stores are there already, as headers alone."""

    def make(config):
        made = Artifacts(config, None, tmp_path, Silent())
        for name, questions in ASKED.items():
            behavior = {"name": name, "questions": questions}
            made._stores[name] = SimpleNamespace(header=SimpleNamespace(behavior=behavior))
        return made

    return make


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
    assert shop(config).question(config.rows[0]) == question


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
        shop(config).question(config.rows[0])


@pytest.mark.parametrize(("kind", "name"), [("adapter", "both"), ("store", "topics")])
def test_a_link_in_the_run_does_not_lead_out_of_it(shop, tmp_path, kind, name):
    """Neither a store nor an adapter is made where somebody's link points."""
    away = tmp_path.parent / f"{tmp_path.name}-away"
    away.mkdir()
    for folder, link in (("stores", "topics"), ("adapters", "both-seed-0")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / link).symlink_to(away)
    config = experiment({"test": "topics", "adapter": "both"})
    artifacts = shop(config)
    if kind == "store":
        artifacts._stores.clear()
    with pytest.raises(UsageError, match=f"{name}.* leads out of"):
        getattr(artifacts, kind)(name, *([0] if kind == "adapter" else []))
    assert not any(away.iterdir())


@pytest.mark.parametrize("parts", [("..",), ("stores", "../../x"), ("stores", "/etc")])
def test_no_part_leads_out_of_a_run(tmp_path, parts):
    with pytest.raises(UsageError, match="leads out of"):
        inside(tmp_path / "run", *parts)


def test_a_link_that_leads_out_of_a_run_is_refused_and_one_within_is_not(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run / "stores", other):
        folder.mkdir(parents=True)
    (run / "stores" / "away").symlink_to(other)
    (run / "stores" / "gone").symlink_to(tmp_path / "nowhere")
    (run / "stores" / "loop").symlink_to(run / "stores" / "loop")
    (run / "stores" / "home").symlink_to(run / "elsewhere")
    for name in ("away", "gone", "loop"):
        with pytest.raises(UsageError, match="remove the link"):
            inside(run, "stores", name)
    assert inside(run, "stores", "home") == run / "stores" / "home"
    (tmp_path / "linked").symlink_to(run)
    assert inside(tmp_path / "linked", "stores", "x") == tmp_path / "linked" / "stores" / "x"
