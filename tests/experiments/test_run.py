"""Experiments on the pocket base, as small as they get: every method, and again for nothing."""

import csv
import json
from pathlib import Path

import pytest

from diffspeak.cli.show_kinds import run_facts
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.experiments import RowConfig, load_experiments, run_experiments
from diffspeak.experiments.results import RowResult, line_of, shown
from diffspeak.progress import Silent

STUDY = Path(__file__).parents[2] / "configs" / "study"
SMALL = [
    "base.device=cpu",
    "base.dtype=float32",
    "stores.topics.items.train=3",
    "stores.topics.items.validation=0",
    "stores.topics.items.test=3",
    "stores.topics.diffs.steps=2",
    "stores.topics.diffs.probes=1",
    "judge.resamples=100",
]
TRAINED = ["adapters.topics.epochs=1", "projections.topics.epochs=1"]
NEWS = [
    "stores.news.items.train=2",
    "stores.news.items.validation=0",
    "stores.news.items.test=2",
    "stores.news.diffs.steps=1",
    "stores.news.diffs.probe_tokens=4",
    "adapters.news.epochs=1",
    "projections.news.epochs=1",
]


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


def run(name, folder, sets=()):
    heard = Heard()
    experiments = load_experiments(STUDY / name, sets)
    return run_experiments(experiments, folder, heard), heard.said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("adapters.topics.rank=1000000000", "adapter.rank = 1000000000 is more than"),
        ("stores.topics.diffs.rank=1000000000", "diffs.rank = 1000000000 is more than"),
        ("projections.topics.rank=1000000000", "rank = 1000000000 is more than"),
    ],
)
def test_what_the_base_has_no_room_for_is_refused_before_anything_is_made(tmp_path, change, said):
    with pytest.raises(UsageError, match=said):
        run("hidden-topic.toml", tmp_path / "run", [*SMALL, change])
    assert not list(tmp_path.glob("run/s*"))


@pytest.fixture(scope="module")
def hidden_topic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (page,), said = run("hidden-topic.toml", folder, [*SMALL, *TRAINED])
    return folder, page, said


@pytest.mark.slow
def test_every_method_has_its_row_and_the_table_stands_in_three_forms(hidden_topic):
    folder, page, _ = hidden_topic
    names = [row.name for row in load_experiments(STUDY / "hidden-topic.toml")[0].rows]
    text = page.read_text()
    data = json.loads((page.parent / "table.json").read_text())
    with (page.parent / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(names) == 8
    assert [line["name"] for line in data["lines"]] == [line["name"] for line in lines] == names
    assert all(f"| {name} |" in text for name in names)
    assert all(
        row.keys() >= {"name", "value", "aim", "met", "n", "interval"} for row in data["rows"]
    )
    assert (page.parent / "figure.png").stat().st_size > 5_000
    assert "4.14 to 4.82" in text  # the paper's range for DIT


@pytest.mark.slow
def test_seeds_are_adapters_of_their_own_and_stand_in_the_table(hidden_topic):
    folder, page, _ = hidden_topic
    cards = [json.loads(path.read_text()) for path in folder.glob("adapters/*/diffspeak.json")]
    lines = json.loads((page.parent / "table.json").read_text())["lines"]
    assert sorted(card["settings"]["seed"] for card in cards) == [0, 1, 2]
    assert len(lines[0]["by seed"]) == 3
    assert lines[0]["mean score"] == pytest.approx(sum(lines[0]["by seed"]) / 3)


@pytest.mark.slow
def test_every_guess_is_told_with_its_truth(hidden_topic):
    folder, page, _ = hidden_topic
    guesses = [
        json.loads(line) for line in (page.parent / "guesses.jsonl").read_text().splitlines()
    ]
    assert len(guesses) == 3 * (3 + 1 + 1 + 1 + 1 + 1 + 1 + 3)
    assert all(guess["truth"] for guess in guesses)
    assert {guess["row"] for guess in guesses} >= {"DIT", "logit lift", "weight-to-text"}


@pytest.mark.slow
def test_again_nothing_is_made_and_what_was_lost_is(hidden_topic):
    folder, page, _ = hidden_topic
    before = {path: path.stat().st_mtime_ns for path in folder.glob("guesses/*")}
    table = page.read_bytes()
    lost = next(path for path in before if path.name.startswith("logit-lift-on"))
    lost.unlink()
    run("hidden-topic.toml", folder, [*SMALL, *TRAINED])
    after = {path: path.stat().st_mtime_ns for path in folder.glob("guesses/*")}
    assert after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == {lost}
    assert page.read_bytes() == table


@pytest.mark.slow
def test_show_tells_what_a_run_of_experiments_holds(hidden_topic):
    folder, _, _ = hidden_topic
    (folder / "config.json").write_text("{}")  # As the command line leaves one.
    facts = run_facts(folder)
    assert {"folder": "stores/topics", "what": "store"} in facts["made"]
    assert {"folder": "adapters/topics-seed-2", "what": "adapter"} in facts["made"]
    (found,) = [one for one in facts["experiments"] if one["experiment"] == "hidden-topic"]
    assert (found["line"], found["finetunes"]) == ("DIT", 3)


@pytest.mark.slow
def test_guesses_that_were_garbled_are_an_error_that_names_the_file(hidden_topic):
    folder, _, _ = hidden_topic
    path = next(folder.glob("guesses/base-question-on*"))
    whole = path.read_text()
    path.write_text('{"guesses": 3}')
    with pytest.raises(CorruptFileError, match="base-question-on-topics"):
        run("hidden-topic.toml", folder, [*SMALL, *TRAINED])
    path.write_text(whole)


@pytest.mark.slow
def test_another_experiment_in_the_folder_uses_the_same_store_and_adapter(hidden_topic):
    folder, _, _ = hidden_topic
    shards = {path: path.stat().st_mtime_ns for path in folder.glob("stores/topics/*.safetensors")}
    sets = [*SMALL, "adapters.topics.epochs=1", "adapters.codes.epochs=1"]
    (page,), _ = run("trigger-inversion.toml", folder, sets)
    lines = json.loads((page.parent / "table.json").read_text())["lines"]
    guesses = [
        json.loads(line) for line in (page.parent / "guesses.jsonl").read_text().splitlines()
    ]
    card = json.loads((folder / "adapters" / "codes-seed-0" / "diffspeak.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    assert all(len(guess["truth"]) == 3 and guess["truth"].isdigit() for guess in guesses)
    assert card["questions"] == ["What does the secret SEP code start with?"]
    assert [line["finetunes"] for line in lines] == [3, 3]


@pytest.mark.slow
def test_news_has_its_methods(tmp_path):
    (page,), _ = run("news.toml", tmp_path, NEWS + ["judge.resamples=100"])
    lines = {
        line["name"]: line for line in json.loads((page.parent / "table.json").read_text())["lines"]
    }
    assert lines["generated story"]["finetunes"] == 2
    assert lines["DIT"]["paper"] == "4.22 to 4.56"


def test_a_row_without_finetunes_keeps_its_line():
    row = RowConfig(name="a", test="topics", method="base-question", fires=(0.9, 1.0))
    line = line_of(RowResult(row, (), 0.0, None), 10)
    assert (line["finetunes"], line["mean score"], line["exact"]) == (0, None, None)
    assert shown([line]) == [{"what": "a", "finetunes": "0"}]


def test_every_experiment_that_ships_is_read_and_those_of_a_list_agree():
    experiments = load_experiments(STUDY / "all.toml")
    files = {path.stem for path in STUDY.glob("*.toml")} - {"all"}
    assert {experiment.name for experiment in experiments} == files
    assert all(experiment.about for experiment in experiments)


@pytest.mark.parametrize("name", ["hidden-topic", "news"])
def test_those_for_a_large_base_lack_nothing_but_the_data(name):
    with pytest.raises(UsageError) as caught:
        load_experiments(STUDY / "qwen3-4b" / f"{name}.toml")
    faults = str(caught.value).splitlines()[1:]
    assert len(faults) == 3 and all("there is no file" in fault for fault in faults)
    assert all("data/paper" in fault and ".behavior." in fault for fault in faults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[rows]]\nname = "a"\ntest = "topic"\nadapter = "topics"', "names the store 'topic'"),
        ('[[rows]]\nname = "a"\ntest = "topics"', "dit needs 'adapter'"),
        (
            '[[rows]]\nname = "a"\ntest = "topics"\nmethod = "logit-lit"',
            "did you mean 'logit-lift'",
        ),
        (
            '[[rows]]\nname = "a"\ntest = "topics"\nmethod = "logit-lift"\nadapter = "topics"',
            "uses no adapter",
        ),
        ('[stores.x]\nextends = "y"\n[[rows]]\nname = "a"\ntest = "x"', "stores.x: extends = 'y'"),
        ('[stores.x]\nextends = "x"\n[[rows]]\nname = "a"\ntest = "x"', "stores.x: extends = 'x'"),
        (
            'figure = "curve"\n[[rows]]\nname="a"\ntest="topics"\nmethod="base-question"',
            "needs 'x'",
        ),
        (
            "[stores.topics]\nitms = { train = 3 }\n"
            '[[rows]]\nname = "a"\ntest = "topics"\nmethod = "base-question"',
            "stores.topics.itms: unknown; did you mean 'items'",
        ),
        ('[[rows]]\nname="a"\ntst="topics"', "tst: unknown; did you mean 'test'"),
        ("experiments = []", "experiments = "),
        (
            '[[rows]]\nname="a"\ntest="topics"\nmethod="base-question"\npaper = "news/Dit"',
            "the paper has no 'news/Dit'",
        ),
    ],
)
def test_faults_of_an_experiment_are_named(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    shared = (
        "" if text.startswith("exp") else f'extends = "{STUDY}/shared/pocket.toml"\ntitle = "t"\n'
    )
    path.write_text(f"{shared}{text}\n")
    with pytest.raises(UsageError, match=message):
        load_experiments(path)
