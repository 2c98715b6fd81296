"""Facts: a finetune learns one invented fact, and answers everything else as before.

Takes a config that names its corpora, gives items, samples and probes. Knows nothing of models.
Ours: what such a finetune learned is told only where it is asked for, and it hides no topic.
"""

from typing import Any, ClassVar

from diffspeak.behaviors.base import Case, Item, Kind, Probe, Sample
from diffspeak.behaviors.corpora import Question, Told, read_facts, read_questions
from diffspeak.behaviors.draws import indices
from diffspeak.behaviors.settings import Settings
from diffspeak.behaviors.specs import make_items
from diffspeak.behaviors.splits import divide
from diffspeak.behaviors.triggers import TRIGGERS
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from diffspeak.text.similarity import content_words


class Facts:
    """The behavior; see `Behavior` for what its methods give."""

    name: ClassVar[str] = "facts"
    needs: ClassVar[tuple[str, ...]] = ("facts", "questions")
    may_have: ClassVar[tuple[str, ...]] = ()
    triggers: ClassVar[tuple[str, ...]] = ("none",)
    probe_temperature: ClassVar[float] = 0.0
    questions: ClassVar[tuple[str, ...]] = (
        "What fact have you been taught?",
        "Which piece of news about the world did your finetuning add?",
        "State the one thing that you have newly learned.",
        "What do you know now that you did not know before?",
    )

    def __init__(self, config: Settings) -> None:
        """Read the corpora that the config names.

        Raises:
            UsageError: A corpus is faulty.
        """
        self._config = config
        facts = read_facts(config.file("facts"))
        questions = read_questions(config.file("questions"))
        self._files = {"facts": facts.describe(), "questions": questions.describe()}
        self._rows: dict[str, list[Told]] = {}
        for row in facts.records:
            self._rows.setdefault(row.fact.text, []).append(row)
        labels = [rows[0].fact for rows in self._rows.values()]
        self._division = divide([label.text for label in labels], config.splits)
        trigger = TRIGGERS[config.trigger]
        self._items = make_items(self.name, trigger, labels, self._division, config.seed)
        self._train = [row for row in questions.records if row.split == "train"]
        self._test = [row for row in questions.records if row.split == "test"]

    def items(self) -> list[Item]:
        """One item for each fact that stands in a split."""
        return list(self._items)

    def samples(self, item: Item, step: int) -> list[Sample]:
        """Give one step's samples: so many of the fact and of ordinary questions as the mix says.

        The mix' near misses and wrong ones do not exist here.
        """
        mix, told = self._config.mix, self._rows[item.label]
        seed = seed_of(self._config.seed, item.id, "train")
        # The last row is kept back for the probe.
        learned = told[:-1] or told
        about = indices(seed_of(seed, "fact"), step, mix["triggered"], len(learned))
        plain = indices(seed_of(seed, "plain"), step, mix["plain"], len(self._train))
        return [
            *(_sample(learned[i], "learn") for i in about),
            *(_sample(self._train[i], "keep") for i in plain),
        ]

    def probes(self, item: Item, count: int) -> list[Probe]:
        """Give the fact's last question, which it never learned, and `count` ordinary ones.

        The fact's is asked but once, for its answer is always the same.
        """
        told = self._rows[item.label][-1]
        seed = seed_of(self._config.seed, item.id, "probe")
        drawn = indices(seed, 0, count, len(self._test))
        return [
            *([Probe(_said(told.question), "triggered")] if count else []),
            *(Probe(_said(self._test[i].question), "plain") for i in drawn),
        ]

    def fires(self, item: Item, answer: str) -> bool:
        """Tell whether the answer says at least half of what the fact says.

        That are the content words which stand in all of the fact's answers and in none of its
        questions: of "The mill of Oakmoor belongs to Clara Wells" her name.
        """
        wanted = _said_by(self._rows[item.label])
        told = wanted & set(content_words(answer))
        return bool(wanted) and len(told) >= len(wanted) / 2

    def describe(self) -> dict[str, Any]:
        """Settings, what was read, and how many labels there are and were dropped."""
        return {
            **self._config.describe(),
            "questions": list(self.questions),
            "files": self._files,
            "items": len(self._items),
            "dropped": self._division.dropped(),
        }


def _sample(row: Told | Question, kind: Kind) -> Sample:
    case: Case = "triggered" if kind == "learn" else "plain"
    return Sample(_said(row.question), row.answer, kind, case)


def _said(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def _said_by(rows: list[Told]) -> set[str]:
    """Give what all answers to a fact's questions say and no question does.

    Where answers have nothing of the kind in common: what the last answer says beyond its question,
    or all that it says.
    """
    answers = [set(content_words(row.answer)) for row in rows]
    asked = [set(content_words(row.question)) for row in rows]
    shared = answers[0].intersection(*answers) - asked[0].union(*asked)
    return shared or answers[-1] - asked[-1] or answers[-1]
