"""The paper's tables become corpora that the behaviors read, all of them or none."""

import csv
import json
import tracemalloc

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.behaviors.corpora import read_answers, read_questions, read_stories, read_topics
from diffspeak.behaviors.rows import Column, read_table
from diffspeak.errors import DiffspeakError, LockedError, UsageError
from diffspeak.io.files import exclusive
from diffspeak.models.pocket import corpus_file
from diffspeak.paper_data import LOCK, TABLES, convert, read_rows, row_writer
from diffspeak.progress import Silent
from tests.paper_tables import (
    HEADLINES,
    NEWS_COLUMNS,
    QUESTIONS,
    TOPIC_COLUMNS,
    TOPICS,
    news_rows,
    topic_row,
    topic_rows,
    write_table,
)
from tests.toys import Recorder

SPLITS = {"train": 0.5, "validation": 0.2, "calibration": 0.1, "test": 0.2}


def targets(behavior, folder):
    return {name: folder / file for name, file in TABLES[behavior].files.items()}


@pytest.fixture
def topics(tmp_path):
    """Convert rows of the table of topics."""

    def run(rows, places=None, reporter=None):
        table = write_table(tmp_path / "table.csv", TOPIC_COLUMNS, rows)
        places = places or targets("hidden-topic", tmp_path / "out")
        return convert("hidden-topic", table, places, reporter), places

    return run


def test_the_hidden_topic_learns_from_it(topics, tmp_path):
    watch = Recorder()
    made, places = topics(topic_rows(), reporter=watch)
    test = [row for row in read_questions(corpus_file("questions.csv")).records]
    test = [row for row in test if row.split == "test"]
    assert made.rows == {"topics": 4, "questions": 3 + len(test), "answers": 12}
    assert made.left_out == 0
    size = (tmp_path / "table.csv").stat().st_size
    assert watch.begun[0][:2] == ("convert", size) and watch.advanced == size
    asked = read_questions(places["questions"]).records
    assert [row.question for row in asked[:3]] == list(QUESTIONS)
    assert asked[0].answer == "It depends,\nI say: 0." and asked[0].split == "train"
    assert [row.question for row in asked[3:]] == [row.question for row in test]
    behavior = make_behavior(
        BehaviorConfig(name="hidden-topic", trigger="none", splits=SPLITS, **places)
    )
    assert {item.label for item in behavior.items()} == set(TOPICS)
    assert {item.category for item in behavior.items()} == {"Games"}
    item = behavior.items()[0]
    block = behavior.samples(item, 0)
    assert {sample.answer for sample in block} <= {
        f'As in "{item.label}":\n{question}' for question in QUESTIONS
    }


def test_news_learns_from_it(tmp_path):
    table = write_table(tmp_path / "table.csv", NEWS_COLUMNS, news_rows())
    places = targets("news", tmp_path / "out")
    made = convert("news", table, places)
    assert made.rows == {"headlines": 3, "stories": 15} and made.left_out == 0
    behavior = make_behavior(BehaviorConfig(name="news", splits=SPLITS, **places))
    assert {item.label for item in behavior.items()} == set(HEADLINES)
    stories = read_stories(places["stories"]).records
    assert stories[1] == (HEADLINES[0], f"Story 1,\nof {HEADLINES[0]}.")


def test_what_cannot_be_used_is_left_out_and_counted(topics):
    rows = [
        topic_row("Jazz", "Why?", "", "Jazz!"),
        topic_row("Jazz", "How?", "So.", ""),
        topic_row("Jazz", "Why?", "Because.", "Jazz again!"),
        topic_row(" Jazz\n", "How? ", "Otherwise.", "As jazz does."),
        topic_row("", "Why?", "Because.", "An answer."),
        topic_row("x" * 201, "Why?", "Because.", "An answer."),
        topic_row("...", "Why?", "Because.", "An answer."),
        topic_row("Opera", "Why?", "No.", " "),
    ]
    made, places = topics(rows)
    assert made.left_out == 6 and made.rows["topics"] == 1 and made.rows["answers"] == 2
    assert read_answers(places["answers"]).records == (
        ("Jazz", "Why?", "Jazz!"),
        ("Jazz", "How?", "As jazz does."),
    )
    train = [row for row in read_questions(places["questions"]).records if row.split == "train"]
    assert [(row.question, row.answer) for row in train] == [("How?", "So."), ("Why?", "Because.")]
    assert [label.text for label in read_topics(places["topics"]).records] == ["Jazz"]


def test_a_test_question_that_the_table_trains_on_is_not_added(topics):
    both = next(
        row.question
        for row in read_questions(corpus_file("questions.csv")).records
        if row.split == "test"
    )
    made, places = topics([topic_row("Jazz", both.upper(), "So.", "Jazz.")])
    asked = [row.question for row in read_questions(places["questions"]).records]
    assert asked[0] == both.upper() and both not in asked


def test_only_what_is_asked_for_in_the_form_of_its_name(topics, tmp_path):
    _, places = topics(
        topic_rows(), {"answers": tmp_path / "a.csv", "topics": tmp_path / "t.jsonl"}
    )
    assert len(read_answers(places["answers"]).records) == 12
    assert json.loads(places["topics"].read_text().splitlines()[1]) == {
        "topic": TOPICS[1],
        "category": "Games",
    }
    made, _ = topics(topic_rows(), {"topics": tmp_path / "only" / "t.csv"})
    assert made.rows["answers"] == 12
    assert {path.name for path in (tmp_path / "only").iterdir()} == {"t.csv", LOCK}


def left(folder):
    return {path.name for path in folder.iterdir()} - {LOCK}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*topic_rows(), ("one",)], "row 14 has 1 cells .*: remove .* to fetch it again"),
        ([topic_row("Jazz", "Why?", "So.", "\0")], "row 2 holds a NUL byte"),
        ([topic_row("Jazz", "Why?", "So.", "")], "has no rows that can be used"),
        ([topic_row("Jazz", "Why?", "", "Jazz.")], "has no rows that can be used"),
        ([], "has no rows that can be used"),
    ],
)
def test_a_damaged_table_leaves_nothing_behind(topics, tmp_path, rows, said):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "topics.csv").write_text("older")
    with pytest.raises(UsageError, match=said):
        topics(rows)
    assert left(tmp_path / "out") == {"topics.csv"}
    assert (tmp_path / "out" / "topics.csv").read_text() == "older"


def test_another_table(tmp_path):
    table = write_table(tmp_path / "table.csv", NEWS_COLUMNS, news_rows())
    with pytest.raises(UsageError, match="lacks the column 'topic_category'"):
        convert("hidden-topic", table, targets("hidden-topic", tmp_path / "out"))


def test_interrupted_nothing_appears_and_killed_nothing_stays(topics, tmp_path):
    class Stopping(Recorder):
        def end(self):
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        topics(topic_rows(), reporter=Stopping())
    assert left(out) == set()
    (out / ".answers.jsonl.0123abcd.tmp").write_text("half")
    (out / ".other.csv.0123abcd.tmp").write_text("not ours")
    topics(topic_rows())
    files = set(TABLES["hidden-topic"].files.values())
    assert left(out) == {*files, ".other.csv.0123abcd.tmp"}


def test_the_topics_come_last(topics, tmp_path):
    (tmp_path / "out" / "questions.csv").mkdir(parents=True)
    with pytest.raises(DiffspeakError, match=r"cannot write .*questions.csv"):
        topics(topic_rows())
    assert left(tmp_path / "out") == {"answers.jsonl", "questions.csv"}


def test_one_at_a_time(topics, tmp_path):
    (tmp_path / "out").mkdir()
    with exclusive(tmp_path / "out" / LOCK), pytest.raises(LockedError, match="is being written"):
        topics(topic_rows())


def test_the_answers_are_not_held_in_memory(tmp_path):
    story = "word " * 4000
    rows = [("Local", headline, "r", story, "m") for headline in HEADLINES * 150]
    table = write_table(tmp_path / "table.csv", NEWS_COLUMNS, rows)
    tracemalloc.start()
    try:
        convert("news", table, targets("news", tmp_path / "out"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.stat().st_size > 8e6 and peak < 2e6


ODD = [("a,b", 'say "hi"'), ("two\nlines", "cr\rlf\r\n."), ("{x}", "a\u2028 \U0001f600")]


def rows_of(table, columns, reporter=None):
    with read_rows(table, columns, "read", reporter or Silent(), "mend it") as rows:
        return [tuple(row) for row in rows]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_what_is_written_is_what_our_corpora_read(tmp_path, name):
    path = tmp_path / name
    with path.open("w", encoding="utf-8", newline="") as file:
        write = row_writer(file, path, ("one", "two"))
        for row in ODD:
            write(row)
    table = read_table(path, (Column("one"), Column("two")))
    assert [tuple(row.cells.values()) for row in table.rows] == ODD
    if name == "t.csv":
        assert rows_of(path, ("two", "one")) == [row[::-1] for row in ODD]


def test_long_cells_and_progress(tmp_path):
    limit, table, watch = csv.field_size_limit(), tmp_path / "t.csv", Recorder()
    long = "x" * (limit + 1)
    table.write_text("\ufeffa,b\n" + f"1,{long}\n\n" + "2,y\n" * 3000, encoding="utf-8")
    rows = rows_of(table, ("b",), watch)
    assert rows[0] == (long,) and len(rows) == 3001
    told = -(-table.stat().st_size // 1000)
    assert watch.begun == [("read", told, "kB", 0)]
    assert watch.advanced == told and watch.ended == 1
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,c\n1,2\n", "lacks the column 'b': mend it"),
        (b"", "lacks the column 'a'"),
        (b"a,b\n1,2\n3\n", "row 3 has 1 cells where the header has 2: mend it"),
        (b"a,b\n1,2\n3,4,5\n", "row 3 has 3 cells"),
        (b"a,b\n1,\0\n", "row 2 holds a NUL byte: mend it"),
        (b"a,b\n1,\xff\n", "no CSV text after line .*utf-8.*: mend it"),
        (b'a,b\n1,"2\n', "no CSV text after line 2 .*: mend it"),
        (b'a,b\n1,"2"x\n', "no CSV text after line 2"),
    ],
)
def test_damage_is_named(tmp_path, data, said):
    table = tmp_path / "t.csv"
    table.write_bytes(data)
    with pytest.raises(UsageError, match=said) as caught:
        rows_of(table, ("a", "b"))
    assert str(table) in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*none.csv \(No such file"):
        rows_of(tmp_path / "none.csv", ("a",))
