"""The newspaper's two files: written once, mended when changed, read by the news behavior."""

import csv

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.models.pocket import corpus_file
from diffspeak.models.pocket.newspaper import newspaper_folder, write_newspaper
from diffspeak.models.pocket.press import is_test, lines, load_press


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_both_files_hold_the_edition(tmp_path):
    write_newspaper(tmp_path / "new" / "folder")
    told = list(lines(load_press()))
    header, *headlines = rows(tmp_path / "new" / "folder" / "headlines.csv")
    assert header == ["headline"]
    assert [headline for (headline,) in headlines] == list(dict.fromkeys(h for h, _ in told))
    header, *stories = rows(tmp_path / "new" / "folder" / "stories.csv")
    assert header == ["headline", "story"] and stories == [list(pair) for pair in told]


def test_what_is_right_is_left_alone_and_what_is_not_is_mended(tmp_path):
    write_newspaper(tmp_path)
    headlines, stories = tmp_path / "headlines.csv", tmp_path / "stories.csv"
    right, kept = stories.read_bytes(), headlines.stat()
    stories.write_bytes(right[:-100])
    write_newspaper(tmp_path)
    assert stories.read_bytes() == right
    assert headlines.stat().st_ino == kept.st_ino
    assert {path.name for path in tmp_path.iterdir()} == {"headlines.csv", "stories.csv"}


def test_it_lies_in_the_users_cache_and_is_a_corpus_of_news(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = {name: corpus_file(f"{name}.csv") for name in ("headlines", "stories")}
    folder = newspaper_folder()
    assert {path.parent for path in paths.values()} == {folder}
    assert folder.is_absolute() and folder.parent == tmp_path / "diffspeak"
    paths["questions"] = corpus_file("questions.csv")
    config = BehaviorConfig.model_validate({"name": "news", **paths})
    behavior = make_behavior(config)
    tests = [item.label for item in behavior.items() if item.split == "test"]
    assert len(tests) >= 200 and all(map(is_test, tests))
    assert len(behavior.items()) + behavior.describe()["dropped"]["near"] == 2400
