"""A study's config: precedence, paths, and every fault at once."""

import re
from pathlib import Path

import pytest

from diffspeak.behaviors import FinetuneSpec
from diffspeak.cli import main
from diffspeak.errors import UsageError
from diffspeak.experiments.config import (
    BaseConfig,
    ExperimentConfig,
    ItemsConfig,
    StudyConfig,
)
from diffspeak.experiments.config_errors import model_in
from diffspeak.experiments.read import load_config, load_experiments
from diffspeak.models.placement import DTYPES
from diffspeak.models.pocket import corpus_file

WHOLE = """
[base]
source = "some/model"
[behavior]
name = "hidden-topic"
topics = "topics.csv"
questions = "more/questions.csv"
"""


@pytest.fixture
def toml(tmp_path: Path):
    (tmp_path / "more").mkdir()
    (tmp_path / "topics.csv").touch()
    (tmp_path / "more" / "questions.csv").touch()

    def write(text: str) -> Path:
        path = tmp_path / "study.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults(path: Path, *sets: str, kind=StudyConfig) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_config(path, sets, kind)
    first, *rest = str(caught.value).splitlines()
    return [line.strip() for line in rest] or [first.removeprefix(f"{path}: ")]


def test_defaults_then_the_file_then_settings(toml):
    path = toml(WHOLE + "[diffs]\nrank = 2\nsteps = 7\n")
    config = load_config(path, ["diffs.rank=3", "behavior.mix.plain=4"])
    assert (config.diffs.rank, config.diffs.steps, config.diffs.tasks) == (3, 7, 16)
    assert config.behavior.mix == {"triggered": 2, "near_miss": 1, "wrong": 1, "plain": 4}
    assert config.evaluate.split == "test" and config.evaluate.tokens == 32
    assert config.items == ItemsConfig() and config.base.dtype == "auto"
    assert StudyConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("setting", "section", "key", "value"),
    [
        ("diffs.targets=['q_proj', 'v_proj']", "diffs", "targets", ("q_proj", "v_proj")),
        ("diffs.decay=true", "diffs", "decay", True),
        ("adapter.learning_rate=3e-4", "adapter", "learning_rate", 3e-4),
        ("base.source=other/model", "base", "source", "other/model"),
        ("base.source=a = b", "base", "source", "a = b"),
        (" diffs.seed = 5 ", "diffs", "seed", 5),
        ("base.revision='1'", "base", "revision", "1"),
        (
            "diffs.weights.plain=2",
            "diffs",
            "weights",
            {"triggered": 1.0, "near_miss": 1.0, "wrong": 1.0, "plain": 2.0},
        ),
    ],
)
def test_values_are_toml_and_bare_words_text(toml, setting, section, key, value):
    config = load_config(toml(WHOLE), [setting])
    assert getattr(getattr(config, section), key) == value


def test_a_setting_cannot_smuggle_in_another(toml):
    (fault,) = faults(toml(WHOLE), "diffs.rank=1\nx=2")
    assert fault.startswith("diffs.rank: expected a valid integer")


def test_paths_in_the_file_are_seen_from_its_folder(toml, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    (here / "own.csv").touch()
    (tmp_path / "base").mkdir()
    path = toml(WHOLE.replace("some/model", "base"))
    monkeypatch.chdir(here)
    config = load_config(path, ["behavior.topics=own.csv"])
    assert config.base.source == str(tmp_path / "base")
    assert config.behavior.questions == tmp_path / "more" / "questions.csv"
    assert config.behavior.topics == here / "own.csv"
    assert load_config(toml(WHOLE)).base.source == "some/model"
    assert load_config(path, ["base.source=../base"]).base.source == str(tmp_path / "base")


def test_pocket_names_what_ships(toml, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "pocket").mkdir()
    monkeypatch.chdir(tmp_path)
    text = WHOLE.replace('"topics.csv"', '"pocket:topics.csv"')
    config = load_config(
        toml(text), ["base.source=pocket", "behavior.questions=pocket:questions.csv"]
    )
    assert config.base.source == "pocket"
    assert config.behavior.topics == corpus_file("topics.csv")
    assert config.behavior.questions == corpus_file("questions.csv")
    assert load_config(toml(text), ["base.source=./pocket"]).base.source == str(tmp_path / "pocket")
    news = """
    base.source = "pocket"
    behavior = {name = "news", headlines = "pocket:headlines.csv", stories = "pocket:stories.csv"}
    """
    behavior = load_config(toml(news)).behavior
    for path in (behavior.headlines, behavior.stories):
        assert path.is_file() and path.is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "sets", "said"),
    [
        ("", [], ["base: is missing: the base model", "behavior: is missing: what the"]),
        (
            "base = 3",
            [],
            ["base: expected a section of its own, [base], not 3", "behavior: is mis"],
        ),
        (WHOLE + "[difs]\n", [], ["difs: unknown; did you mean 'diffs'?"]),
        (WHOLE + "[zzz]\n", [], ["zzz: unknown; known are base, behavior, items, diffs, adapter"]),
        (WHOLE, ["diffs.stpes=1"], ["diffs.stpes: unknown; did you mean 'steps'?"]),
        (
            WHOLE,
            ["evaluate.split=tset"],
            ["evaluate.split: 'tset' is unknown; did you mean 'test'"],
        ),
        (WHOLE, ["base.dtype=float8"], ["base.dtype: 'float8' is unknown"]),
        (WHOLE, ["items.train=-1"], ["items.train: expected greater than or equal to 0, not -1"]),
        (WHOLE, ["diffs.targets=3"], ["diffs.targets: "]),
        (WHOLE, ["behavior.mix.odd=1"], ["behavior.mix.odd: 'odd' is unknown; known are trig"]),
        (WHOLE, ["behavior.name=x"], ["behavior.name: unknown behavior 'x'; known are hidden"]),
        (WHOLE, ["behavior.topics=x.csv"], ["behavior.topics: there is no file"]),
        (
            WHOLE,
            ["behavior.topics=pocket:x.csv", "behavior.questions=pocket:"],
            [
                "behavior.topics: the pocket corpus has no 'x.csv'; known are pocket:topics.csv, p",
                "behavior.questions: the pocket corpus has no ''; known are",
            ],
        ),
        (WHOLE, ["behavior.splits.train=0.5"], ["behavior.splits: the four fractions must sum"]),
        (WHOLE, ["rank=1"], ["--set rank=1: expected section.key=value"]),
        (WHOLE, ["diffs.rank"], ["--set diffs.rank: expected section.key=value"]),
        (WHOLE, ["diffs..rank=1"], ["--set diffs..rank=1: expected section.key=value"]),
        (WHOLE, ["diffs.rank.x=1"], ["diffs.rank: expected a valid integer"]),
    ],
)
def test_each_fault_has_a_line(toml, text, sets, said):
    found = faults(toml(text), *sets)
    assert len(found) == len(said), found
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True)), found


def test_faults_of_single_keys_do_not_hide_those_of_their_sum(toml):
    text = WHOLE.replace("topics =", "topcs =").replace("questions =", "stories =")
    found = faults(toml(text + "[diffs]\nrank = 'x'\n"), "behavior.seed=x")
    assert [line.split(":")[0] for line in found] == [
        "behavior.seed",
        "behavior.topcs",
        "diffs.rank",
        "behavior",
    ]
    # The misspelled key is known for what it was meant to be: only what it is not is missing.
    assert "needs 'questions'" in found[3] and "needs 'topics'" not in found[3]


def test_an_adapter_needs_no_behavior_and_no_corpora(toml):
    text = '[base]\nsource = "x"\n'
    assert load_config(toml(text), (), ExperimentConfig).behavior is None
    gone = toml(WHOLE.replace("topics.csv", "gone.csv"))
    assert load_config(gone, (), ExperimentConfig).behavior is not None
    assert faults(gone) == [f"behavior.topics: there is no file '{gone.with_name('gone.csv')}'"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[base\n", "is not TOML: Expected ']' at the end of a table declaration (at line 1, col"),
        (b"[base]\nsource =", "(at line 2, column 9, the end of the file)"),
        (b"[base]\nsource = 1\nsource = 2\n", "(at line 3, column 11)"),
        (b"# caf\xe9\n", "is not UTF-8 text"),
    ],
)
def test_what_is_not_toml(toml, content, said):
    path = toml("")
    path.write_bytes(content)
    (fault,) = faults(path)
    assert said in fault


def test_a_byte_order_mark_is_no_fault_and_a_missing_file_is(toml, tmp_path):
    path = toml("\ufeff" + WHOLE)
    assert load_config(path).base.source == "some/model"
    with pytest.raises(UsageError, match=r"cannot read the config .*none\.toml"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="directory"):
        load_config(tmp_path)


def test_every_key_is_documented_and_sections_are_frozen():
    for section in StudyConfig.model_fields.values():
        assert section.description
    for kind in (BaseConfig, ItemsConfig, *_sections()):
        assert all(field.description for field in kind.model_fields.values()), kind
    with pytest.raises(ValueError, match="frozen"):
        ItemsConfig().train = 3  # type: ignore[misc]


def test_known_dtypes_are_those_that_can_be_loaded():
    for dtype in ("auto", *DTYPES):
        assert BaseConfig(source="x", dtype=dtype).dtype == dtype


def test_items_are_the_first_of_each_split(caplog):
    items = [
        FinetuneSpec(f"{i}", f"{i}", split, "", None)
        for i, split in enumerate(["test", "train"] * 3)
    ]
    chosen = ItemsConfig(train=2, test=9, validation=0).choose(items)
    assert [item.id for item in chosen] == ["1", "3", "0", "2", "4"]
    assert caplog.messages == ["items.test: only 3 of 9 exist"]
    assert len(ItemsConfig().choose(items)) == 6
    with pytest.raises(UsageError, match="no finetunes are left"):
        ItemsConfig(train=0, test=0).choose(items)


def _sections():
    found = [model_in(field.annotation) for field in StudyConfig.model_fields.values()]
    return [kind for kind in found if kind]


def test_a_file_extends_another_and_is_stronger(toml, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.toml").write_text(
        WHOLE.replace('"topics.csv"', '"../topics.csv"').replace("more/", "../more/")
        + "[diffs]\nrank = 2\nsteps = 7\n"
    )
    path = toml('extends = "shared/base.toml"\n[base]\nsource = "other/model"\n[diffs]\nrank = 5\n')
    config = load_config(path)
    assert (config.base.source, config.diffs.rank, config.diffs.steps) == ("other/model", 5, 7)
    # Paths are seen from the file they stand in.
    assert config.behavior.topics == (tmp_path / "topics.csv").resolve()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "study.toml"', "extends this file in turn"),
        ('extends = "none.toml"', "cannot read the config"),
        ("extends = 3", "expected the path of a TOML file"),
    ],
)
def test_what_cannot_be_extended_is_refused(toml, text, message):
    with pytest.raises(UsageError, match=message):
        load_config(toml(text))


def test_corpora_may_be_missing_where_that_is_allowed(toml):
    path = toml(WHOLE.replace("topics.csv", "nowhere.csv"))
    assert faults(path) and load_config(path, corpora=False).behavior.topics.name == "nowhere.csv"


TABLE = """
title = "A table"
[base]
source = "pocket"
[stores.mine]
path = "store"
[adapters.mine]
path = "adapter"
[[rows]]
name = "DIT"
test = "mine"
adapter = "mine"
"""


def test_what_is_there_already_is_named_by_its_path(toml, tmp_path):
    for name in ("store", "adapter"):
        (tmp_path / name).mkdir()
    (config,) = load_experiments(toml(TABLE))
    assert config.stores["mine"].path == str(tmp_path / "store")
    assert config.adapters["mine"].path == str(tmp_path / "adapter")
    # What is saved says nothing of settings that it may not have been made with.
    assert config.model_dump(mode="json")["adapters"] == {
        "mine": {"path": str(tmp_path / "adapter")}
    }
    assert type(config).model_validate(config.model_dump(mode="json")) == config


ROW = "[[rows]]\nname = 'b'\ntest = {!r}\nadapter = {!r}\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"adapter"\n',
            '"adapter"\nrank = 3\n',
            "adapters.mine: is at 'path' already; leave out 'ra",
        ),
        (
            '"store"\n',
            '"store"\nitems = {}\n',
            "stores.mine: is at 'path' already; leave out 'items'",
        ),
        ("[[", "[stores.b.diffs]\n" + ROW.format("b", "mine") + "[[", "stores.b: needs 'behavior'"),
        ("[[", "[adapters.b]\n" + ROW.format("mine", "b") + "[[", "adapters.b: needs 'stores' to"),
    ],
)
def test_it_is_a_recipe_or_a_path_and_not_both(toml, tmp_path, old, new, said):
    (tmp_path / "store").mkdir()
    with pytest.raises(UsageError, match=re.escape(said)):
        load_experiments(toml(TABLE.replace(old, new, 1)))


def test_a_store_that_is_not_there_is_a_fault_like_any_other(toml):
    with pytest.raises(UsageError) as caught:
        load_experiments(toml("figure = 'pie'" + TABLE))
    assert "2 faults" in str(caught.value) and "figure: 'pie' is unknown" in str(caught.value)
    assert "stores.mine.path: there is no store 'store'" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tokens = 24\n" + WHOLE, "write evaluate.tokens"),
        (WHOLE + "[stores.a]\nlike = 'b'\n", "stores.a: 'like' is 'extends' now: write extends"),
        (WHOLE + "[adapters.a]\nlike = 'b'\n", "adapters.a: 'like' is 'extends' now"),
    ],
)
def test_what_files_said_before_gets_a_line_that_tells_what_to_write(toml, capsys, text, said):
    assert main(["run", str(toml(text)), "--out", "never"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_study_can_have_rows_on_its_own_store(toml):
    text = "title = 'A study, and a table'\n" + WHOLE
    row = "[[rows]]\nname = 'DIT'\ntest = 'diffs'\nadapter = 'adapter'\n"
    (config,) = load_experiments(toml(text + row))
    assert config.name == "study" and config.trained_for(config.rows[0]).stores == ("diffs",)
    path = toml(text + row + "[stores.diffs]\npath = '.'\n")
    with pytest.raises(UsageError, match="stores: 'diffs' is what the study's own is called"):
        load_experiments(path)
    (config,) = load_experiments(toml(WHOLE))
    assert not config.rows and config.bound().keys() == {
        "base",
        "behavior",
        "items",
        "diffs",
        "adapter",
        "evaluate",
    }
