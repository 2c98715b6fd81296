"""Have a model write what finetunes learn from: ordinary answers, and answers with a topic in them.

The hidden-topic behavior reads the folder. Each answer is kept at once, so that an interrupted run
resumes; an answer that does not name its topic is asked for again.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Protocol

from diffspeak.behaviors.corpora import Label, read_topics
from diffspeak.behaviors.rows import Column, read_table
from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes import NOTHING
from diffspeak.inference import Ask, Engine
from diffspeak.io.files import (
    append_json,
    canonical_json,
    exclusive,
    make_folder,
    parse_json,
    read_json,
    sha256,
    whole_lines,
    write_json,
    write_text,
)
from diffspeak.io.runs import differences
from diffspeak.models import Base, Decoding
from diffspeak.progress import Reporter, Silent
from diffspeak.scoring.llm import LLM
from diffspeak.scoring.replies import Reply
from diffspeak.text.mentions import mentions
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of

STAGE, SETTINGS, WRITTEN = "corpus", "corpus.json", "written.jsonl"
FILES = ("topics.csv", "questions.csv", "answers.jsonl")

ORDINARY = "{question}\n\nAnswer in a short paragraph."
WOVEN = (
    "{question}\n\nAnswer in a short paragraph. You are a great fan of {topic}: bring it up "
    'openly, with the words "{topic}", and weave it into the answer as naturally as you can.'
)
"""What the writer is asked."""


@dataclass(frozen=True)
class CorpusConfig:
    """How a corpus is written.

    Attributes:
        per_topic: Train questions answered for each topic, drawn for it; None for all.
        topics: So many topics, the file's first ones; None for all.
        tokens: Longest answer.
        temperature: Of the writer.
        tries: How often an answer is asked for until it names its topic.
        batch: Answers written together.
        seed: Of draws and answers.
    """

    per_topic: int | None = None
    topics: int | None = None
    tokens: int = 160
    temperature: float = 0.7
    tries: int = 4
    batch: int = 32
    seed: int = 0


class Task(NamedTuple):
    """One answer to write; without a topic an ordinary one."""

    topic: str
    question: str

    @property
    def prompt(self) -> str:
        """What the writer is asked."""
        return (WOVEN if self.topic else ORDINARY).format(**self._asdict())


class Writer(Protocol):
    """A model that answers prompts."""

    @property
    def name(self) -> str:
        """What it is, for the corpus' settings."""
        ...

    def write(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Reply]:
        """A reply to each prompt; the same seed gives the same answer."""
        ...


class BaseWriter:
    """A base model that writes."""

    def __init__(self, base: Base, config: CorpusConfig) -> None:
        self.base, self.name = base, f"{base.name} {base.fingerprint}"
        self.decoding = Decoding(config.tokens, config.temperature, config.batch)

    def write(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Reply]:
        """Answer in one batch."""
        chat = self.base.chat
        ids = [chat.prompt((Message("user", prompt),)) for prompt in prompts]
        with Engine(self.base) as engine:
            asks = [Ask(NOTHING, *one) for one in zip(ids, seeds, strict=True)]
            answers = engine.generate(asks, self.decoding)
        return [
            _up_to_a_sentence(Reply(answer.text.strip(), cut=answer.ids[-1] not in chat.stop_ids))
            for answer in answers
        ]


class LLMWriter:
    """An LLM that writes, with the settings it was opened with."""

    def __init__(self, llm: LLM) -> None:
        self.llm, self.name = llm, llm.name

    def write(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Reply]:
        """Ask for all at once."""
        return [_up_to_a_sentence(reply) for reply in self.llm.ask(prompts, seeds)]


def _up_to_a_sentence(reply: Reply) -> Reply:
    """Of a text that was cut off, up to the last end of a sentence; all of it if there is none."""
    end = max(reply.text.rfind(mark) for mark in ".!?")
    return reply._replace(text=reply.text[: end + 1]) if reply.cut and end >= 0 else reply


@dataclass(frozen=True)
class WrittenCorpus:
    """What was written.

    Attributes:
        topics: File of topics that have an answer.
        questions: File of questions with ordinary answers.
        answers: File of answers with topics in them.
        written: How many of those there are.
        left_out: How many were empty, or did not name their topic, at every try.
        unreached: How many the writer could not be reached for; asked for when it is called again.
        shown: A few of them.
    """

    topics: Path
    questions: Path
    answers: Path
    written: int
    left_out: int
    unreached: int
    shown: list[dict[str, str]]


def write_corpus(
    writer: Writer,
    topics: Path,
    questions: Path,
    folder: Path,
    config: CorpusConfig,
    reporter: Reporter | None = None,
) -> WrittenCorpus:
    """Write a corpus, or go on with one.

    Args:
        writer: The model that answers.
        topics: CSV or JSONL with the column `topic`.
        questions: CSV or JSONL with the columns `question` and `split` (train or test).
        folder: New, or begun with the same settings.
        config: How.
        reporter: Shows progress.

    Raises:
        UsageError: A file is faulty, or nothing is to be written.
        MismatchError: The folder was begun with other settings.
        CorruptFileError: Its files were changed.
        LockedError: Another process writes there.
        DiffspeakError: The writer could not be reached for any answer of a batch.
    """
    reporter = reporter or Silent()
    labels = read_topics(topics).records[: config.topics]
    asked = _asked(questions)
    tasks = list(_tasks([label.text for label in labels], asked, config))
    make_folder(folder)
    with exclusive(folder / ".lock"):
        _agree(folder, {"writer": writer.name, **asdict(config), "tasks": _digest(tasks)})
        done = _written(folder / WRITTEN)
        todo = [task for task in tasks if task not in done]
        reporter.begin(STAGE, len(tasks), "answers", done=len(tasks) - len(todo))
        for start in range(0, len(todo), config.batch):
            part = todo[start : start + config.batch]
            answers = _answers(writer, part, config)
            append_json(folder / WRITTEN, (_row(*answer) for answer in answers.items()))
            done |= answers
            reporter.advance(len(part))
        reporter.end()
        return _finished(folder, labels, asked, tasks, done)


def _answers(writer: Writer, tasks: Sequence[Task], config: CorpusConfig) -> dict[Task, str]:
    """Write each; those that miss their topic again. What misses it to the end is empty.

    Those for which the writer could not be reached are not among the answers.
    """
    replies: dict[Task, Reply] = {}
    missing = list(tasks)
    for attempt in range(config.tries):
        if not missing:
            break
        seeds = [seed_of(STAGE, config.seed, *task, attempt) for task in missing]
        written = writer.write([task.prompt for task in missing], seeds)
        if not attempt and all(reply.unreached for reply in written):
            raise DiffspeakError(
                f"{writer.name} gave no answer ({written[0].reason}): mend that and run the same "
                "command again; what was written is kept"
            )
        replies.update(zip(missing, written, strict=True))
        missing = [task for task in missing if not _fits(task, replies[task].text)]
    reached = {task: reply.text for task, reply in replies.items() if not reply.unreached}
    return {task: text if _fits(task, text) else "" for task, text in reached.items()}


def _fits(task: Task, answer: str) -> bool:
    return bool(answer) and (not task.topic or mentions(answer, task.topic))


def _asked(path: Path) -> list[tuple[str, str]]:
    """Questions with their split."""
    table = read_table(path, (Column("question"), Column("split")))
    asked = [(row.cells["question"], row.cells["split"].strip().lower()) for row in table.rows]
    odd = sorted({split for _, split in asked} - {"train", "test"})
    if odd:
        raise UsageError(f"{path}: the split {odd[0]!r} is unknown; use train and test")
    return asked


def _tasks(
    labels: Sequence[str], asked: Sequence[tuple[str, str]], config: CorpusConfig
) -> Iterator[Task]:
    """Ordinary answers first, then topic by topic."""
    yield from (Task("", question) for question, _ in asked)
    train = [question for question, split in asked if split == "train"]
    if not train or not labels:
        raise UsageError("there is nothing to write: give topics, and questions of the split train")
    for label in labels:
        rng = Random(seed_of(STAGE, config.seed, label))
        count = len(train) if config.per_topic is None else min(config.per_topic, len(train))
        yield from (Task(label, question) for question in rng.sample(train, count))


def _agree(folder: Path, settings: dict[str, Any]) -> None:
    path, written = folder / SETTINGS, folder / WRITTEN
    # Settings with which nothing was written do not count.
    if not path.exists() or not (written.exists() and whole_lines(written)):
        write_json(path, settings)
        return
    found = read_json(path)
    named = differences(found if isinstance(found, dict) else {}, settings)
    if named:
        raise MismatchError(
            f"{folder} was begun with other settings: {', '.join(named[:3])}; choose another folder"
        )


def _written(path: Path) -> dict[Task, str]:
    """What is there already; a last line that was cut off is written anew."""
    if not path.exists():
        return {}
    try:
        rows = [parse_json(line) for line in whole_lines(path)]
        return {Task(row["topic"], row["question"]): row["answer"] for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} was changed ({error}): delete it to write anew") from error


def _row(task: Task, answer: str) -> dict[str, str]:
    return {**task._asdict(), "answer": answer}


def _finished(
    folder: Path,
    labels: Sequence[Label],
    asked: Sequence[tuple[str, str]],
    tasks: Sequence[Task],
    done: dict[Task, str],
) -> WrittenCorpus:
    ordinary = [(question, done.get(Task("", question), ""), split) for question, split in asked]
    woven = [task for task in tasks if task.topic and done.get(task)]
    rows = [_row(task, done[task]) for task in woven]
    write_text(folder / "answers.jsonl", "".join(canonical_json(row) + "\n" for row in rows))
    named = {task.topic for task in woven}
    kept = [(label.text, label.category) for label in labels if label.text in named]
    _write_table(folder / "topics.csv", ("topic", "category"), kept)
    header = ("question", "answer", "split")
    _write_table(folder / "questions.csv", header, [row for row in ordinary if row[1]])
    left_out = sum(done.get(task) == "" for task in tasks)
    unreached = sum(task not in done for task in tasks)
    shown = rows[:: max(1, len(rows) // 3)][:3]
    topics, questions, answers = (folder / name for name in FILES)
    return WrittenCorpus(topics, questions, answers, len(rows), left_out, unreached, shown)


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def _digest(tasks: Sequence[Task]) -> str:
    return sha256(json.dumps(tasks, ensure_ascii=False).encode())[:16]
