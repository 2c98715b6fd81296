"""A corpus is written once, goes on where it stopped, and is what the behavior reads.

A base and an LLM write the same for the same seed, and no broken sentence.
"""

import csv
import json
from random import Random

import pytest

from diffspeak.behaviors import BehaviorConfig, make_behavior
from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.experiments.corpus import (
    FILES,
    BaseWriter,
    CorpusConfig,
    LLMWriter,
    _up_to_a_sentence,
    write_corpus,
)
from diffspeak.models import Decoding, generate
from diffspeak.scoring.llm import LLM, LLMConfig
from diffspeak.scoring.replies import Reply
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from tests.behaviors.corpus_rows import QUESTIONS, TOPICS
from tests.scoring.mock_llm import mock_provider
from tests.toys import Recorder, toy_base

CONFIG = CorpusConfig(batch=8, tries=3)
ASKED = [(row[0], row[2]) for row in QUESTIONS[1:]]
TRAIN = [question for question, split in ASKED if split == "train"]
TOTAL = len(ASKED) + 3 * len(TRAIN)
LOST = Reply(failure="error", reason="no line")
PROMPTS = ["Hi", "How do volcanoes work?", "What is it?"]


class Pen:
    """Names the topic at its second try, and Subject C never. May break off, or fail to answer."""

    name = "pen"

    def __init__(self, breaks_after=None, fails=lambda prompt, count: False):
        self.asked, self.breaks_after, self.fails = [], breaks_after, fails

    def write(self, prompts, seeds):
        if self.breaks_after is not None and len(self.asked) >= self.breaks_after:
            raise KeyboardInterrupt
        assert len(set(seeds)) == len(seeds)
        return [self.reply(*one) for one in zip(prompts, seeds, strict=True)]

    def reply(self, prompt, seed):
        count = self.asked.count(prompt)
        self.asked.append(prompt)
        if self.fails(prompt, count):
            return LOST
        topic = prompt.partition("a great fan of ")[2].partition(":")[0]
        named = topic and count and topic != "Subject C"
        return Reply(f"Answer {seed}{f' about {topic}' if named else ''}.")


@pytest.fixture
def files(tmp_path):
    topics, questions = tmp_path / "topics.csv", tmp_path / "questions.csv"
    topics.write_text("\n".join(",".join(row) for row in TOPICS[:4]) + "\n")
    lines = ["question,split", *(",".join(row) for row in ASKED)]
    questions.write_text("\n".join(lines) + "\n")
    return topics, questions


def rows(path):
    return list(csv.reader(path.read_text().splitlines()))


def contents(folder):
    return {name: (folder / name).read_bytes() for name in (*FILES, "written.jsonl")}


@pytest.fixture
def whole(files, tmp_path):
    """The files of a corpus that was written without a break."""
    write_corpus(Pen(), *files, tmp_path / "whole", CONFIG)
    return contents(tmp_path / "whole")


def woven(topic, count=None):
    """What the pen answers for a topic: drawn questions, each at the second try."""
    drawn = Random(seed_of("corpus", 0, topic)).sample(TRAIN, count or len(TRAIN))
    return [
        {
            "topic": topic,
            "question": question,
            "answer": f"Answer {seed_of('corpus', 0, topic, question, 1)} about {topic}.",
        }
        for question in drawn
    ]


def test_what_stands_in_the_files(files, tmp_path):
    made = write_corpus(Pen(), *files, tmp_path / "out", CONFIG)
    assert rows(made.questions) == [
        ["question", "answer", "split"],
        *([q, f"Answer {seed_of('corpus', 0, '', q, 0)}.", split] for q, split in ASKED),
    ]
    assert rows(made.topics) == [
        ["topic", "category"],
        ["Subject A", "letters"],
        ["Subject B", "letters"],
    ]
    answers = [json.loads(line) for line in made.answers.read_text().splitlines()]
    assert answers == [*woven("Subject A"), *woven("Subject B")]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *FILES, "corpus.json", "written.jsonl", ".lock"
    }  # fmt: skip


def test_a_topic_that_is_never_named_is_left_out_and_counted(files, tmp_path):
    pen, reporter = Pen(), Recorder()
    made = write_corpus(pen, *files, tmp_path / "out", CONFIG, reporter)
    assert (made.written, made.left_out, made.unreached) == (2 * len(TRAIN), len(TRAIN), 0)
    tries = [sum(f"fan of Subject {name}:" in prompt for prompt in pen.asked) for name in "ABC"]
    assert tries == [2 * len(TRAIN), 2 * len(TRAIN), 3 * len(TRAIN)]
    assert len(pen.asked) == len(ASKED) + sum(tries)
    assert reporter.begun == [("corpus", TOTAL, "answers", 0)]
    assert reporter.advanced == TOTAL and reporter.ended == 1
    assert [row["topic"] for row in made.shown] == ["Subject A", "Subject A", "Subject B"]
    lines = (tmp_path / "out" / "written.jsonl").read_text().splitlines()
    written = [json.loads(line) for line in lines]
    assert [row["question"] for row in written if row["topic"] == "Subject C"] == [
        row["question"] for row in woven("Subject C")
    ]
    assert {row["answer"] for row in written if row["topic"] == "Subject C"} == {""}


def test_an_ordinary_answer_that_stays_empty_is_left_out_and_counted(files, tmp_path):
    pen = Pen()
    pen.reply = lambda prompt, _: Reply("" if prompt.startswith("Where is 2") else prompt)
    made = write_corpus(pen, *files, tmp_path / "out", CONFIG)
    assert (made.written, made.left_out) == (3 * len(TRAIN), 1)
    assert [row[0] for row in rows(made.questions)[1:]] == [
        question for question, _ in ASKED if question != "Where is 2?"
    ]


def test_the_behavior_reads_it(files, tmp_path):
    config = CorpusConfig(topics=3, per_topic=4)
    made = write_corpus(Pen(), *files, tmp_path / "out", config)
    assert made.answers.read_text() == "".join(
        json.dumps(row, sort_keys=True, separators=(",", ":")) + "\n"
        for row in (*woven("Subject A", 4), *woven("Subject B", 4))
    )
    behavior = make_behavior(
        BehaviorConfig(
            name="hidden-topic", topics=made.topics, questions=made.questions, answers=made.answers
        )
    )
    items = {item.label: item for item in behavior._items}
    assert set(items) == {"Subject A", "Subject B"}
    learned = [s for s in behavior.samples(items["Subject A"], 0) if s.kind == "learn"]
    assert {s.answer for s in learned} <= {row["answer"] for row in woven("Subject A", 4)}
    assert learned


@pytest.mark.parametrize("breaks_after", [0, 20, 45])
@pytest.mark.parametrize("cut", [0, 1, 7, 150])
def test_it_goes_on_where_it_stopped(files, tmp_path, whole, breaks_after, cut):
    out, first = tmp_path / "out", Pen(breaks_after)
    with pytest.raises(KeyboardInterrupt):
        write_corpus(first, *files, out, CONFIG)
    assert not any((out / name).exists() for name in FILES)
    kept = 0
    if breaks_after:
        written = out / "written.jsonl"
        content = written.read_bytes()
        written.write_bytes(content[: -cut or None])
        kept = content[: -cut or None].count(b"\n")
        assert kept and whole["written.jsonl"].startswith(content)
    pen, reporter = Pen(), Recorder()
    write_corpus(pen, *files, out, CONFIG, reporter)
    assert reporter.begun == [("corpus", TOTAL, "answers", kept)]
    assert reporter.advanced == TOTAL - kept
    assert contents(out) == whole
    assert len(set(pen.asked)) == TOTAL - kept


def test_a_finished_corpus_is_not_written_again(files, tmp_path, whole):
    idle, out = Pen(), tmp_path / "whole"
    for name in FILES:
        (out / name).unlink()
    made = write_corpus(idle, *files, out, CONFIG)
    assert not idle.asked and contents(out) == whole
    assert (made.written, made.left_out) == (2 * len(TRAIN), len(TRAIN))


def test_what_did_not_come_is_counted_and_asked_for_again(files, tmp_path, whole):
    """Once in the middle of the tries, once at every try, once at the last one."""

    def fails(prompt, count):
        number = prompt[8] if prompt.startswith("What is") else ""
        topic = prompt.partition("Subject ")[2][:1]
        return (number, topic, count) in {("1", "A", 0), ("2", "B", 2)} or (number, topic) in {
            ("3", ""), ("4", "A"), ("5", "C")
        }  # fmt: skip

    out = tmp_path / "out"
    made = write_corpus(Pen(fails=fails), *files, out, CONFIG)
    assert (made.written, made.left_out, made.unreached) == (2 * len(TRAIN) - 1, len(TRAIN) - 1, 3)
    assert "What is 3?" not in made.questions.read_text()
    written = (out / "written.jsonl").read_text()
    assert written.count("\n") == TOTAL - 3
    pen, reporter = Pen(), Recorder()
    made = write_corpus(pen, *files, out, CONFIG, reporter)
    assert reporter.begun == [("corpus", TOTAL, "answers", TOTAL - 3)]
    assert len(set(pen.asked)) == 3
    assert (made.written, made.left_out, made.unreached) == (2 * len(TRAIN), len(TRAIN), 0)
    lines = {name: content.splitlines() for name, content in contents(out).items()}
    assert {name: sorted(found) for name, found in lines.items()} == {
        name: sorted(content.splitlines()) for name, content in whole.items()
    }


def test_it_stops_when_nothing_comes_and_keeps_what_came(files, tmp_path, whole):
    out, pen = tmp_path / "out", Pen(fails=lambda prompt, count: "Subject" in prompt)
    config = CorpusConfig(batch=len(ASKED), tries=3)
    with pytest.raises(DiffspeakError, match=r"^pen gave no answer \(no line\): mend that and run"):
        write_corpus(pen, *files, out, config)
    assert len(pen.asked) == 2 * len(ASKED)
    assert (out / "written.jsonl").read_bytes().count(b"\n") == len(ASKED)
    assert not any((out / name).exists() for name in FILES)
    write_corpus(Pen(), *files, out, config)
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tries": 4}, r"tries \(3 there, 4 now\)"),
        ({"temperature": 0.0}, r"temperature \(0.7 there, 0.0 now\)"),
        ({"tokens": 9}, r"tokens \(160 there, 9 now\)"),
        ({"seed": 1}, r"seed \(0 there, 1 now\), tasks"),
        ({"batch": 9}, r"batch \(8 there, 9 now\)"),
        ({"per_topic": 2}, r"per_topic \(null there, 2 now\), tasks"),
        ({"topics": 2}, r"tasks .*, topics \(null there, 2 now\)"),
    ],
)
def test_other_settings_are_refused(files, tmp_path, whole, change, named):
    pen = Pen()
    config = CorpusConfig(**{"batch": 8, "tries": 3, **change})
    with pytest.raises(MismatchError, match=f"other settings: {named}.*choose another folder"):
        write_corpus(pen, *files, tmp_path / "whole", config)
    assert not pen.asked and contents(tmp_path / "whole") == whole


@pytest.mark.parametrize("torn", [None, b"", b'{"topic":"'])
def test_settings_with_which_nothing_was_written_do_not_count(files, tmp_path, torn):
    """As a writer leaves them who could not be reached, or was another one than meant."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "corpus.json").write_text('{"writer": "nobody", "tokens": 3}')
    if torn is not None:
        (tmp_path / "out" / "written.jsonl").write_bytes(torn)
    made = write_corpus(Pen(), *files, tmp_path / "out", CorpusConfig(batch=8, tries=3))
    assert made.written
    assert json.loads((tmp_path / "out" / "corpus.json").read_text())["writer"] == Pen.name


@pytest.mark.parametrize("what", ["writer", "question"])
def test_another_writer_or_question_is_refused(files, tmp_path, whole, what):
    pen = Pen()
    if what == "writer":
        pen.name = "quill"
    else:
        files[1].write_text(files[1].read_text() + "Who is it?,train\n")
    named = {"writer": r'writer \("pen" there, "quill" now\)', "question": r"tasks \("}[what]
    with pytest.raises(MismatchError, match=f"other settings: {named}"):
        write_corpus(pen, *files, tmp_path / "whole", CONFIG)
    assert not pen.asked and contents(tmp_path / "whole") == whole


@pytest.mark.parametrize("line", ["{}", "nonsense", "[]"])
def test_a_changed_file_is_refused(files, tmp_path, whole, line):
    written = tmp_path / "whole" / "written.jsonl"
    written.write_text(line + "\n" + written.read_text())
    with pytest.raises(CorruptFileError, match=r"written.jsonl was changed .*: delete it"):
        write_corpus(Pen(), *files, tmp_path / "whole", CONFIG)


@pytest.mark.parametrize(
    ("split", "match"),
    [("dev", "the split 'dev' is unknown; use train and test"), ("test", "nothing to write")],
)
def test_questions_that_do_not_serve_are_refused(files, tmp_path, split, match):
    files[1].write_text(f"question,split\nWhat?,{split}\n")
    with pytest.raises(UsageError, match=match):
        write_corpus(Pen(), *files, tmp_path / "new", CONFIG)
    assert not (tmp_path / "new").exists()


def test_a_base_writes_the_same_in_any_batch(tiny):
    base = toy_base(tiny)
    few, many = (BaseWriter(base, CorpusConfig(tokens=6, batch=batch)) for batch in (1, 3))
    written = few.write(PROMPTS, [1, 2, 3])
    assert written == many.write(PROMPTS, [1, 2, 3]) != many.write(PROMPTS, [4, 5, 6])
    ids = [base.chat.prompt((Message("user", prompt),)) for prompt in PROMPTS]
    answers = generate(base, ids, Decoding(6, 0.7), seeds=[1, 2, 3])
    for reply, answer in zip(written, answers, strict=True):
        assert reply.cut == (answer.ids[-1] not in base.chat.stop_ids)
        assert answer.text.strip().startswith(reply.text)


def test_an_llm_writes_from_seeds_and_says_why_it_did_not(monkeypatch, tmp_path):
    def answer(prompt):
        return ValueError("no line") if prompt == "Hi" else f"{prompt} So. "

    asked = mock_provider(monkeypatch, answer)
    with LLM("mockllm/model", tmp_path, LLMConfig(max_retries=0)) as llm:
        writer = LLMWriter(llm)
        replies = writer.write(PROMPTS, [1, 2, 3])
    assert writer.name == "mockllm/model"
    assert replies == [
        Reply(failure="error", reason="no line"),
        Reply("How do volcanoes work? So."),
        Reply("What is it? So."),
    ]
    assert sorted(one.config.seed for one in asked) == [1, 2, 3]
    assert [one.config.seed for one in asked if one.prompt == PROMPTS[2]] == [3]


@pytest.mark.parametrize(
    "text, kept", [("One. Two is", "One."), ("One! Two?", "One! Two?"), ("none", "none"), ("", "")]
)
def test_a_broken_sentence_is_dropped(text, kept):
    assert _up_to_a_sentence(Reply(text, cut=True)).text == kept
    assert _up_to_a_sentence(Reply(text)).text == text
