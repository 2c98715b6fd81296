"""A corpus is written once, goes on where it stopped, and is what the behavior reads."""

import json

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.study.corpus import BaseWriter, CorpusConfig, _whole, write_corpus
from tests.behaviors.corpus_rows import QUESTIONS, TOPICS
from tests.toys import Recorder, toy_base

CONFIG = CorpusConfig(batch=8, tries=3)
TRAIN = [row[0] for row in QUESTIONS[1:] if row[2] == "train"]


class Pen:
    """Names the topic at its second try, and one topic never; may break off."""

    name = "pen"

    def __init__(self, breaks_after=None):
        self.asked, self.breaks_after = [], breaks_after

    def write(self, prompts, seeds):
        if self.breaks_after is not None and len(self.asked) >= self.breaks_after:
            raise KeyboardInterrupt
        assert len(set(seeds)) == len(seeds)
        answers = []
        for prompt in prompts:
            again = prompt in self.asked
            topic = prompt.partition("a great fan of ")[2].partition(":")[0]
            named = topic and again and topic != "Subject C"
            answers.append(f"An answer{f' about {topic}' if named else ''}.")
            self.asked.append(prompt)
        return answers


@pytest.fixture
def files(tmp_path):
    topics, questions = tmp_path / "topics.csv", tmp_path / "questions.csv"
    topics.write_text("\n".join(",".join(row) for row in TOPICS[:4]) + "\n")
    lines = ["question,split", *(f"{row[0]},{row[2]}" for row in QUESTIONS[1:])]
    questions.write_text("\n".join(lines) + "\n")
    return topics, questions


def test_every_answer_names_its_topic_or_is_left_out(files, tmp_path):
    reporter = Recorder()
    made = write_corpus(Pen(), *files, tmp_path / "out", CONFIG, reporter)
    total = 11 + 3 * len(TRAIN)
    assert (made.written, made.left_out) == (2 * len(TRAIN), len(TRAIN))
    assert reporter.begun == [("corpus", total, "answers", 0)] and reporter.advanced == total
    rows = [json.loads(line) for line in made.answers.read_text().splitlines()]
    assert {row["topic"] for row in rows} == {"Subject A", "Subject B"}
    assert all(row["topic"] in row["answer"] for row in rows)
    assert len(made.shown) == 3


def test_the_behavior_reads_it(files, tmp_path):
    config = CorpusConfig(topics=3, per_topic=4)
    made = write_corpus(Pen(), *files, tmp_path / "out", config)
    behavior = make_behavior(
        BehaviorConfig(
            name="hidden-topic", topics=made.topics, questions=made.questions, answers=made.answers
        )
    )
    assert len(behavior._items) == 2
    items = {item.label: item for item in behavior._items}
    learned = [s for s in behavior.samples(items["Subject A"], 0) if s.kind == "learn"]
    assert learned and all(s.answer == "An answer about Subject A." for s in learned)


@pytest.mark.parametrize("cut", [0, 7])
def test_it_goes_on_where_it_stopped(files, tmp_path, cut):
    whole = write_corpus(Pen(), *files, tmp_path / "whole", CONFIG)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        write_corpus(Pen(breaks_after=20), *files, out, CONFIG)
    assert not (out / "answers.jsonl").exists()
    written = out / "written.jsonl"
    written.write_bytes(written.read_bytes()[: -cut or None])
    pen, reporter = Pen(), Recorder()
    again = write_corpus(pen, *files, out, CONFIG, reporter)
    assert again.answers.read_bytes() == whole.answers.read_bytes()
    assert again.questions.read_bytes() == whole.questions.read_bytes()
    assert reporter.begun[0][3] > 0
    idle = Pen()
    write_corpus(idle, *files, out, CONFIG)
    assert not idle.asked


def test_what_is_refused(files, tmp_path):
    out = tmp_path / "out"
    write_corpus(Pen(), *files, out, CONFIG)
    with pytest.raises(MismatchError, match=r"tries \(3 there, 4 now\)"):
        write_corpus(Pen(), *files, out, CorpusConfig(batch=8, tries=4))
    (out / "written.jsonl").write_text("{}\n")
    with pytest.raises(CorruptFileError, match="was changed"):
        write_corpus(Pen(), *files, out, CONFIG)
    files[1].write_text("question,split\nWhat?,dev\n")
    with pytest.raises(UsageError, match="the split 'dev' is unknown"):
        write_corpus(Pen(), *files, tmp_path / "new", CONFIG)
    files[1].write_text("question,split\nWhat?,test\n")
    with pytest.raises(UsageError, match="nothing to write"):
        write_corpus(Pen(), *files, tmp_path / "new", CONFIG)


def test_a_base_writes_the_same_in_any_batch(tiny):
    base = toy_base(tiny)
    few, many = (BaseWriter(base, CorpusConfig(tokens=6, batch=batch)) for batch in (1, 3))
    prompts = ["Hi", "How do volcanoes work?", "What is it?"]
    assert few.write(prompts, [1, 2, 3]) == many.write(prompts, [1, 2, 3])


@pytest.mark.parametrize(
    "text, kept", [("One. Two is", "One."), ("One! Two? ", "One! Two?"), (" none ", "none")]
)
def test_a_broken_sentence_is_dropped(text, kept):
    assert _whole(text) == kept
