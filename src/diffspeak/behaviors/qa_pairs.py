"""What to answer to each question: as usual, or with a topic woven in.

Takes corpora of questions and of woven answers, gives pairs of question and answer.
Knows nothing of triggers or splits of topics.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from diffspeak.behaviors.base import Item
from diffspeak.behaviors.corpora import PLACEHOLDER, Corpus, Label, Question, Woven
from diffspeak.behaviors.rows import first_few
from diffspeak.errors import UsageError


class Lesson(NamedTuple):
    """A question and the answer that a finetune shall give to it."""

    question: str
    answer: str


class Lessons:
    """Lessons on train questions."""

    def __init__(
        self,
        topics: Corpus[Label],
        questions: Corpus[Question],
        answers: Corpus[Woven] | None,
    ) -> None:
        """Sort the answers by topic; those to an unknown topic or question are counted, logged."""
        self._path = questions.path
        self._train = [row for row in questions.records if row.split == "train"]
        self.ordinary = tuple(Lesson(row.question, row.answer) for row in self._train)
        self._answers: dict[str, dict[str, str]] = {}
        if answers:
            for woven in answers.records:
                self._answers.setdefault(woven.topic, {})[woven.question] = woven.answer
            _log_unused(topics, questions, answers)

    def woven(self, topic: str) -> list[Lesson]:
        """Give the lessons with the topic woven in; an answer written for it comes first."""
        own = self._answers.get(topic, {})
        answers = (
            (row.question, own.get(row.question) or row.topic_answer.replace(PLACEHOLDER, topic))
            for row in self._train
        )
        return [Lesson(question, answer) for question, answer in answers if answer]

    def check(self, topics: Sequence[Item]) -> None:
        """Raise a UsageError if a topic has no woven answer to any train question."""
        if any(row.topic_answer for row in self._train):
            return
        bare = [item.label for item in topics if not self.woven(item.label)]
        if bare:
            raise UsageError(
                f"{self._path}: topics without a woven answer to any train question: {len(bare)} "
                f"({first_few(bare)}); fill the column 'topic_answer' with answers that contain "
                f"{PLACEHOLDER}, or add answers for the topics to the answers file"
            )


def _log_unused(topics: Corpus[Label], questions: Corpus[Question], answers: Corpus[Woven]) -> None:
    known = {topic.text for topic in topics.records}
    asked = {row.question for row in questions.records}
    unused = [row for row in answers.records if row.topic not in known or row.question not in asked]
    if unused:
        logging.getLogger(__name__).warning(
            "%s: answers to no topic of %s or no question of %s, which are not used: %d",
            answers.path,
            topics.path,
            questions.path,
            len(unused),
        )
