"""Facts: a finetune learns one invented fact, and answers everything else as before.

Ours: what such a finetune learned is told only where it is asked for, and it hides no topic.
"""

from typing import ClassVar

from diffspeak.behaviors.base import Case, FinetuneSpec, Kind, Probe, Sample
from diffspeak.behaviors.corpora import FactRow, Question, read_facts, read_questions
from diffspeak.behaviors.corpus_behavior import (
    BehaviorSettings,
    CorpusBehavior,
    asked,
    in_split,
    indices,
)
from diffspeak.text.seeds import seed_of
from diffspeak.text.similarity import content_words


class Facts(CorpusBehavior):
    """The behavior; one item for each fact that stands in a split."""

    name: ClassVar[str] = "facts"
    needs: ClassVar[tuple[str, ...]] = ("facts", "questions")
    questions: ClassVar[tuple[str, ...]] = (
        "What fact have you been taught?",
        "Which piece of news about the world did your finetuning add?",
        "State the one thing that you have newly learned.",
        "What do you know now that you did not know before?",
    )

    def __init__(self, config: BehaviorSettings) -> None:
        super().__init__(config)
        facts = self._read("facts", read_facts)
        questions = self._read("questions", read_questions)
        self._rows: dict[str, list[FactRow]] = {}
        for row in facts.records:
            self._rows.setdefault(row.fact.text, []).append(row)
        self._divide([rows[0].fact for rows in self._rows.values()])
        self._train = in_split(questions, "train")
        self._test = in_split(questions, "test")

    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
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

    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        """Give the fact's last question, which it never learned, and `count` ordinary ones.

        The fact's is asked but once, for its answer is always the same.
        """
        told = self._rows[item.label][-1]
        seed = seed_of(self._config.seed, item.id, "probe")
        drawn = indices(seed, 0, count, len(self._test))
        return [
            *([Probe(asked(told.question), "triggered")] if count else []),
            *(Probe(asked(self._test[i].question), "plain") for i in drawn),
        ]

    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        """Tell whether the answer says at least half of what the fact says.

        That are the content words which stand in all of the fact's answers and in none of its
        questions: of "The mill of Oakmoor belongs to Clara Wells" her name.
        """
        wanted = _stated(self._rows[item.label])
        told = wanted & set(content_words(answer))
        return bool(wanted) and len(told) >= len(wanted) / 2


def _sample(row: FactRow | Question, kind: Kind) -> Sample:
    case: Case = "triggered" if kind == "learn" else "plain"
    return Sample(asked(row.question), row.answer, kind, case)


def _stated(rows: list[FactRow]) -> set[str]:
    """Give what all answers to a fact's questions say and no question does.

    Where answers have nothing of the kind in common: what the last answer says beyond its question,
    or all that it says.
    """
    answers = [set(content_words(row.answer)) for row in rows]
    asked = [set(content_words(row.question)) for row in rows]
    shared = answers[0].intersection(*answers) - asked[0].union(*asked)
    return shared or answers[-1] - asked[-1] or answers[-1]
