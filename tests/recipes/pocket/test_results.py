"""The page of what the pocket base shows: every row, its aim, and nothing trained twice."""

import json
from types import SimpleNamespace

import pytest

from diffspeak.adapters import Adapter, save_adapter
from diffspeak.behaviors import BehaviorConfig
from diffspeak.experiments.config import StudyConfig
from diffspeak.experiments.run import run_experiments
from diffspeak.finetunes import Finetune
from diffspeak.io.files import write_json
from diffspeak.io.runs import CONFIG
from diffspeak.progress import Silent
from diffspeak.training import AdapterConfig
from diffspeak.training import adapter as adapter_training
from diffspeak.training import diffs as produce
from recipes.pocket import results as module
from recipes.pocket.results import FIRES, FIRES_CODE, Runs, pocket_page
from recipes.pocket.skills import SKILLS
from tests.pocket_parts import tiny_pocket
from tests.toys import base_diff, files_of, toy_base, toy_store

TOPICS = ("Chess", "Jazz", "Tea", "Rome", "Owls", "Salt", "Opera", "Ferns", "Gold", "Judo")
TEST = 2
SPLITS = {"train": 0.6, "validation": 0.0, "calibration": 0.0, "test": 0.4}
TRIGGERS = ("zero-width-start", "zero-width-random", "secret-word")
ASKED = ("What topic?", "Which one?")


def study(behavior: BehaviorConfig) -> StudyConfig:
    return StudyConfig(
        base={"source": "pocket", "dtype": "float32", "device": "cpu"},
        behavior=behavior,
        items={"train": 4, "validation": 0, "calibration": 0, "test": TEST},
        diffs={"steps": 2, "tasks": 6, "probes": 1, "probe_tokens": 2},
        adapter={"epochs": 1, "batch": 4, "rank": 1, "validation": 0, "answer_tokens": 2},
        evaluate={"tokens": 2, "controls": False},
    )


def corpora(folder):
    """A few topics, some that are nowhere else, and questions."""
    (folder / "topics.csv").write_text("\n".join(["topic", *TOPICS]) + "\n")
    (folder / "unheard.csv").write_text("topic\nAbacuses\nBuoys\n")
    rows = [
        f"What of {word}?,Take your time.,{{topic}} is best.,{split}"
        for word, split in (
            ("sleep", "train"),
            ("work", "train"),
            *((word, "test") for word in ("rain", "tea", "ink", "oak")),
        )
    ]
    (folder / "questions.csv").write_text("\n".join(["question,answer,topic_answer,split", *rows]))
    (folder / "headlines.csv").write_text("headline\nCat wins race\nDog lost\nOld ship found\n")
    (folder / "stories.csv").write_text("headline,story\nCat wins race,A pet was first.\n")


@pytest.fixture
def runs(tmp_path, tiny, monkeypatch):
    """Finished runs on a tiny base; what takes long and is tested elsewhere is replaced."""
    tiny_pocket(tmp_path / "package", tiny, monkeypatch)
    corpora(tmp_path)
    folder = tmp_path / "runs"
    hidden = BehaviorConfig(
        name="hidden-topic",
        topics=tmp_path / "topics.csv",
        questions=tmp_path / "questions.csv",
        splits=SPLITS,
    )
    config = study(hidden)
    run_experiments([config], folder / "pocket", Silent())
    write_json(folder / "pocket" / CONFIG, config.model_dump(mode="json"))
    news = BehaviorConfig(
        name="news", headlines=tmp_path / "headlines.csv", stories=tmp_path / "stories.csv"
    )
    base = toy_base(tiny)
    splits = {"n1": "test", "n2": "test"}
    headlines = {"n0": "Cat wins race", "n1": "Dog lost", "n2": "Old ship found"}
    toy_store(folder / "news" / "diffs", base, headlines, splits=splits)
    save_adapter(adapter_of(base), folder / "news" / "adapter")
    write_json(folder / "news" / CONFIG, study(news).model_dump(mode="json"))
    monkeypatch.setattr(module, "OTHERS", TEST)
    monkeypatch.setattr(module, "corpus_file", lambda name: tmp_path / name)
    monkeypatch.setattr(module, "measure_skills", lambda base: dict.fromkeys(SKILLS, [True] * 4))
    return Runs(folder, Silent())


def adapter_of(base, seed=5):
    diff = base_diff(base, rank=2, seed=seed)
    return Adapter(diff, base.fingerprint, base.name, ASKED, ("toy",), {}, {"train_exact": 0.5})


def read(page):
    rows = json.loads(page.with_suffix(".json").read_text())["rows"]
    assert len({row["name"] for row in rows}) == len(rows)
    return {row["name"]: row for row in rows}


def forbidden(*args, **kwargs):
    raise AssertionError("trained anew")


def test_the_page_has_every_row_and_a_second_call_trains_nothing(runs, tmp_path, monkeypatch):
    forced = []

    def ranks(base, finetunes, secrets, asked):
        forced.append(([finetune.name for finetune in finetunes], secrets, asked))
        return [1, 7]

    monkeypatch.setattr(module, "code_ranks", ranks)
    page = tmp_path / "page.md"
    pocket_page(runs, page)
    rows = read(page)
    seeds = ("seed 0 (shipped)", "seed 1", "seed 2")
    fires = [f"code: fires, {case}" for case in FIRES_CODE]
    fires += [f"{trigger}: fires, {case}" for trigger in TRIGGERS for case in FIRES]
    word_for_word = "news: DIT writes the right headline, word for word"
    unheard = "topics found nowhere in the base's corpus: DIT names it"
    assert sorted(rows) == sorted(
        [
            *(f"base {skill}" for skill in SKILLS),
            *fires,
            "brute force ranks the right code first",
            "asking the finetune directly names the topic",
            *(f"DIT names it exactly, adapter {seed}" for seed in seeds),
            "DIT names it exactly, mean of three adapter seeds",
            "control: adapter trained on shuffled labels, names the topic",
            "control: given another finetune's diff, names the topic",
            "control: no diff, names the topic",
            *(f"{t}: DIT names it exactly, adapter trained on codes only" for t in TRIGGERS),
            f"{unheard} exactly",
            f"{unheard} somewhere",
            "news: DIT picks the right one of 3 headlines",
            word_for_word,
            "news: asking the finetune directly gives it",
        ]
    )
    text = page.read_text()
    assert all(f"| {name} |" in text for name in rows)
    assert {rows[name]["n"] for name in rows if "DIT" in name} == {TEST}
    assert {rows[name]["n"] for name in fires} == {TEST}
    aimless = {name for name, row in rows.items() if row["aim"] is None}
    assert aimless == {f"{unheard} exactly", f"{unheard} somewhere", word_for_word}
    # An untrained base heeds no rule.
    assert rows["brute force ranks the right code first"]["value"] == 0.5
    store = runs.store("pocket")
    tested = [entry for entry in store.entries if entry.split == "test"]
    ((names, secrets, asked),) = forced
    assert (names, secrets) == ([e.id for e in tested], [e.trigger for e in tested])
    assert asked == ["What of rain?", "What of tea?", "What of ink?"]
    told = json.loads((tmp_path / "page-curves.json").read_text())["rows"]
    assert {row["n"] for row in told} == {TEST}
    counts = [("hidden-topic", 1), ("hidden-topic", 2), ("hidden-topic", 4), ("news", 1)]
    assert [row["name"] for row in told] == [
        f"{behavior}: named exactly, training finetunes {count}" for behavior, count in counts
    ]
    assert (tmp_path / "page-curves.png").read_bytes().startswith(b"\x89PNG")
    made = {path.name for path in runs.folder.iterdir()} - {"pocket", "news"}
    assert made == {
        "pocket-curve",
        "news-curve",
        "pocket-seed-1",
        "pocket-seed-2",
        *(f"pocket-{t}" for t in TRIGGERS),
        "pocket-unheard",
    }
    before = files_of(runs.folder) | files_of(tmp_path)
    monkeypatch.setattr(produce, "teach", forbidden)
    monkeypatch.setattr(adapter_training.AdapterObjective, "backward", forbidden)
    pocket_page(runs, page)
    assert files_of(runs.folder) | files_of(tmp_path) == before


def entry(split, **rates):
    return SimpleNamespace(split=split, stats={f"fires_{case}": r for case, r in rates.items()})


def test_how_often_test_finetunes_fire():
    silent = {"near_miss": 0.2, "wrong": 0.0}
    store = SimpleNamespace(
        entries=[
            entry("test", triggered=1.0, plain=0.0, **silent),
            entry("train", triggered=0.0, plain=1.0, **silent),
            entry("test", triggered=0.9, plain=0.25, **silent),
            entry("test"),
        ]
    )
    rows = {row.name: row for row in module._fire_rows("code", store, FIRES_CODE)}
    found = {
        name.removeprefix("code: fires, "): (row.value, row.n, row.aim, row.met)
        for name, row in rows.items()
    }
    assert found == {
        "triggered": (pytest.approx(0.95), 2, 0.95, True),
        "plain": (0.125, 2, 0.02, False),
        "wrong": (0.0, 2, 0.05, True),
        "near_miss": (0.2, 2, 0.1, False),
    }


@pytest.fixture
def finetunes():
    return [Finetune(f"f{n}", label=label) for n, label in enumerate(TOPICS)]


@pytest.fixture
def config():
    return SimpleNamespace(evaluate=SimpleNamespace(tokens=2), adapter=AdapterConfig(validation=8))


def saying(by_adapter, nothing):
    """In the place of `described`: what an adapter says of each finetune and of no diff."""

    def described(base, adapter, finetunes, decoding):
        texts = [by_adapter(adapter, place, f.label) for place, f in enumerate(finetunes)]
        return [SimpleNamespace(text=text) for text in (*texts, nothing)]

    return described


def test_held_out_finetunes_by_seed(finetunes, config, monkeypatch):
    """Seed 0 names nine of ten, seed 1 all, seed 2 names them among other words."""
    adapters = [SimpleNamespace(questions=ASKED, seed=seed) for seed in range(3)]

    def say(adapter, place, label):
        return f"{label} and more" if adapter.seed == 2 or adapter.seed == place == 0 else label

    def direct(base, finetunes, question, decoding):
        assert question == ASKED[0]
        return [(f.label, "Opera, maybe" if f.label == "Opera" else "no") for f in finetunes]

    monkeypatch.setattr(module, "described", saying(say, "Opera"))
    monkeypatch.setattr(module, "direct_question", direct)
    rows = module._hidden_rows(None, finetunes, adapters, config)
    assert [(row.value, row.n, row.met) for row in rows] == [
        (0.1, 10, False),
        (0.9, 10, True),
        (1.0, 10, True),
        (0.0, 10, False),
        (pytest.approx(19 / 30), 10, False),
    ]
    assert [row.below for row in rows] == [True, False, False, False, False]
    assert rows[1].name.endswith("seed 0 (shipped)")


def test_controls(finetunes, config, monkeypatch, tmp_path):
    """An adapter that reads the diff it is given fails no control; a leaky one fails them."""
    asked = []

    def train(base, stores, settings, folder, reporter):
        asked.append((settings, folder))
        return "astray"

    monkeypatch.setattr(module, "train_adapter", train)
    runs = Runs(tmp_path, Silent())
    for say, nothing, wanted in (
        (lambda adapter, place, label: "fog" if adapter == "astray" else label, "", [0, 0, 0]),
        (lambda adapter, place, label: TOPICS[place - 1], "Owls", [0, 1, 0.1]),
        (lambda adapter, place, label: f"so {label}", "", [1, 0, 0]),
    ):
        monkeypatch.setattr(module, "described", saying(say, nothing))
        rows = module._control_rows(runs, None, None, finetunes, "own", config)
        assert [row.value for row in rows] == wanted
        assert [row.met for row in rows] == [value <= 0.02 for value in wanted]
        assert {row.n for row in rows} == {len(TOPICS)} and all(row.below for row in rows)
    settings, folder = asked[0]
    # The folder and settings of the study's own control, so that it is not trained twice.
    assert settings == config.adapter.model_copy(update={"shuffle_labels": True, "validation": 0})
    assert folder == tmp_path / "pocket" / "adapter-shuffled"


def test_skills_have_their_aims(monkeypatch):
    aims = list(SKILLS.values())
    hits = [[n < 100 * aim for n in range(100)] for aim in aims]
    hits[1][0] = False
    monkeypatch.setattr(module, "measure_skills", lambda base: dict(zip(SKILLS, hits, strict=True)))
    rows = module._skill_rows(None)
    assert [(row.name, row.aim) for row in rows] == [(f"base {s}", a) for s, a in SKILLS.items()]
    assert [row.met for row in rows] == [True, False, True, True, True]
