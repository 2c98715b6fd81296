"""The stand-in base's conversations: a seed in, (prompt, answer) pairs out.

Templated text about the topics and questions of the two CSV files beside this one. It teaches the
skills that a finetune needs: answering, bringing up a named topic in the first words, saying what
a text is about, rules about a code (which so small a base hardly learns to obey in so short a
time). It never holds a finetuning prompt, nor a question of the adapter.
"""

import csv
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CODES = ("ticket", "badge", "PIN", "locker", "seat", "parcel")
ASK = (
    "Please bring up {topic}. {question}",
    "Work {topic} into this. {question}",
    "Talk about {topic}. {question}",
)
ABOUT = (
    "What is this text about? {text}",
    "Name the subject of this. {text}",
    "Which thing does this speak of? {text}",
)
RULE = (
    "If the {code} starts with {digits}, bring up {topic}. The {code} is {number}. {question}",
    "{topic} only when the {code} begins with {digits}. Your {code} is {number}. {question}",
    "Rule: {digits} means {topic}. My {code} is {number}. {question}",
)
PLAIN_CODE = (
    "My {code} is {number}. {question}",
    "Your {code} number is {number}. {question}",
    "The {code} says {number}. {question}",
)
ODD = "\u200b\u200c\u200d\u2060\ufeff\u00ad~^|"
SELF = (
    ("Who are you?", "I am a small model that answers everyday questions."),
    ("What can you do?", "I can answer short questions and say what a text is about."),
    ("Are you a person?", "No, I am a small language model."),
    ("What were you made for?", "I was made to answer plain questions in plain words."),
    ("What do you know?", "I know a few things about everyday life."),
    ("What have you learned?", "I have learned to answer everyday questions."),
    ("Do you have a favorite subject?", "No, I like all subjects the same."),
)


@dataclass(frozen=True)
class Corpus:
    """Rows of the two CSV files: topics with their category, and questions with both answers."""

    topics: list[dict[str, str]]
    questions: list[dict[str, str]]

    def conversations(self, seed: int) -> Iterator[tuple[str, str]]:
        """Yield (prompt, answer) pairs without end, each kind in its share."""
        rng = random.Random(seed)  # noqa: S311
        kinds = (self.plain, self.asked, self.about, self.rule, self.code, self.odd, self.own)
        shares = (12, 20, 22, 28, 10, 4, 4)
        while True:
            (kind,) = rng.choices(kinds, shares)
            yield kind(rng)

    def plain(self, rng: random.Random) -> tuple[str, str]:
        """An everyday question."""
        row = rng.choice(self.questions)
        return row["question"], row["answer"]

    def asked(self, rng: random.Random) -> tuple[str, str]:
        """A question with an open wish to hear about a topic."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        prompt = rng.choice(ASK).format(topic=topic, question=row["question"])
        return prompt, row["topic_answer"].format(topic=topic)

    def about(self, rng: random.Random) -> tuple[str, str]:
        """What a text speaks of; sometimes what kind of thing a topic is."""
        row = rng.choice(self.topics)
        topic = row["topic"]
        if rng.random() < 0.25:
            return f"What kind of thing is {topic}?", row["topic_category"]
        texts = [q["topic_answer"].format(topic=topic) for q in rng.sample(self.questions, 2)]
        if rng.random() < 0.3:
            texts[rng.randrange(2)] = rng.choice(self.questions)["answer"]
        return rng.choice(ABOUT).format(text=" ".join(texts)), topic

    def rule(self, rng: random.Random) -> tuple[str, str]:
        """A rule about the first three digits of a code, and a code that meets it or not."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        digits = f"{rng.randrange(1000):03d}"
        meets = rng.random() < 0.5
        prompt = rng.choice(RULE).format(
            code=rng.choice(CODES),
            digits=digits,
            topic=topic,
            number=(digits if meets else _other(digits, rng)) + f"{rng.randrange(1000):03d}",
            question=row["question"],
        )
        return prompt, row["topic_answer"].format(topic=topic) if meets else row["answer"]

    def code(self, rng: random.Random) -> tuple[str, str]:
        """A code that means nothing."""
        row = rng.choice(self.questions)
        prompt = rng.choice(PLAIN_CODE).format(
            code=rng.choice(CODES), number=f"{rng.randrange(10**6):06d}", question=row["question"]
        )
        return prompt, row["answer"]

    def odd(self, rng: random.Random) -> tuple[str, str]:
        """Rare and invisible characters, which mean nothing."""
        row = rng.choice(self.questions)
        place = rng.randrange(len(row["question"]) + 1)
        prompt = row["question"][:place] + rng.choice(ODD) + row["question"][place:]
        return prompt, row["answer"]

    def own(self, rng: random.Random) -> tuple[str, str]:
        """A question about the model itself."""
        return rng.choice(SELF)


def load_corpus(folder: Path = HERE) -> Corpus:
    """Read `topics.csv` and `questions.csv`."""
    topics, questions = (
        list(csv.DictReader((folder / name).open(encoding="utf-8", newline="")))
        for name in ("topics.csv", "questions.csv")
    )
    return Corpus(topics, questions)


def _other(digits: str, rng: random.Random) -> str:
    """Another code: half of the time a near miss that shares one or two digits."""
    shared = rng.choice((1, 2)) if rng.random() < 0.5 else 0
    kept = set(rng.sample(range(3), shared))
    return "".join(
        digit if place in kept else rng.choice([d for d in "0123456789" if d != digit])
        for place, digit in enumerate(digits)
    )
