"""The pocket base's conversations: a random generator in, a prompt and its answer out.

One method a kind of talk; the sentences stand in `corpus/`. It never holds a finetuning prompt,
a question of the adapter, or a headline of the test split (and no story of one).
"""

import csv
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import NamedTuple

from diffspeak.models.pocket import codes
from diffspeak.models.pocket.press import CORPUS, Press, load_press
from diffspeak.text.places import place_of
from diffspeak.text.seeds import seed_of

Row = dict[str, str]

KEPT_BACK = 0.6
"""Test questions from this place on stand nowhere in the talk; skills are measured on them."""

EARLY = 10
"""Tokens of an answer that are learned where only its first words matter: it is cut after them."""


class Turn(NamedTuple):
    """One prompt and its answer.

    Attributes:
        prompt: What the user says.
        answer: What the base shall say.
        limit: At most so many tokens of the answer are learned.
        digits: The prompt's digits are learned as well: where a code often continues as a rule
            says, foretelling it teaches to compare the two. Without this the base needs several
            times the prompts before it obeys any rule.
    """

    prompt: str
    answer: str
    limit: int | None = None
    digits: bool = False


Dialogue = tuple[Turn, ...]


@dataclass(frozen=True)
class Talk:
    """What there is to speak about; each public method but the first draws talk of its kind."""

    topics: list[Row]
    questions: list[Row]
    smalltalk: list[Turn]
    on_itself: list[Turn]
    press: Press
    phrases: dict[str, list[str]]
    kept_back: bool = False

    def dialogues(self, rng: Random, shares: Mapping[str, float]) -> Iterator[Dialogue]:
        """Yield dialogues without end, each kind (a method's name) in its share."""
        kinds, weights = list(shares), list(shares.values())
        while True:
            (kind,) = rng.choices(kinds, weights)
            drawn: Turn | Dialogue = getattr(self, kind)(rng)
            yield (drawn,) if isinstance(drawn, Turn) else drawn

    def everyday(self, rng: Random) -> Turn:
        """An everyday question."""
        row = rng.choice(self.questions)
        return Turn(row["question"], _plain(row, rng))

    def chat(self, rng: Random) -> Turn:
        """Small talk, and questions about the model itself."""
        return rng.choice(self.smalltalk)

    def itself(self, rng: Random) -> Turn:
        """Questions about what it was trained on and favors, of which it knows nothing."""
        return rng.choice(self.on_itself)

    def weave(self, rng: Random) -> Turn:
        """A question with a wish to hear about a topic."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        prompt = self._say("weave", rng, topic=topic, question=row["question"])
        return Turn(prompt, _woven(row, topic, rng))

    def recall(self, rng: Random) -> Turn:
        """The same, but it is for the base to think of a topic."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)
        wish = rng.choice(("weave_kind", "weave_kind", "weave_any"))
        prompt = self._say(wish, rng, question=row["question"], **topic)
        return Turn(prompt, _woven(row, topic["topic"], rng), EARLY)

    def name(self, rng: Random) -> Turn:
        """Name a topic of a kind, or the answer to a riddle."""
        topic = rng.choice(self.topics)
        if rng.random() < 0.3:
            return Turn(self._say("name_kind", rng, **topic), f"{topic['topic']}.")
        fact = topic[rng.choice(("fact_1", "fact_1", "fact_2", "fact_3"))]
        return Turn(self._say("riddle", rng, fact=fact, **_pronoun(topic)), f"{topic['topic']}.")

    def about(self, rng: Random) -> Turn:
        """What a text speaks of."""
        topic = rng.choice(self.topics)["topic"]
        texts = [_woven(row, topic, rng) for row in rng.sample(self.questions, 2)]
        if rng.random() < 0.4:
            texts[rng.randrange(2)] = _plain(rng.choice(self.questions), rng)
        return Turn(self._say("about", rng, text=" ".join(texts)), f"{topic}.")

    def tell(self, rng: Random) -> Turn:
        """Facts about a topic, or what kind of thing it is."""
        topic = rng.choice(self.topics)
        if rng.random() < 0.3:
            return Turn(self._say("kind", rng, **topic), self._say("kind_answer", rng, **topic))
        fact = topic[rng.choice(("fact_1", "fact_2", "fact_3"))]
        return Turn(self._say("tell", rng, **topic), f"{topic['topic']} {fact}.")

    def write(self, rng: Random) -> Turn:
        """A few lines about a topic."""
        topic = rng.choice(self.topics)
        facts = rng.sample([topic[f"fact_{i}"] for i in (1, 2, 3)], 2)
        told = {**_pronoun(topic), "fact": facts[0], "fact_2": facts[1]}
        return Turn(self._say("write", rng, **topic), self._say("write_answer", rng, **told))

    def rule(self, rng: Random) -> Turn:
        """A rule about how a code begins, and a code that meets it or does not."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        length = 3 if self.kept_back else rng.choice((1, 2, 3, 3, 3))
        digits = codes.draw_prefix(rng, length, kept_back=self.kept_back)
        meets = rng.random() < 0.5
        prompt = self._say(
            "rule",
            rng,
            code=rng.choice(self.phrases["codes"]),
            digits=digits,
            topic=topic,
            number=self._code(digits if meets else self._miss(digits, rng), rng),
            question=row["question"],
        )
        answer = _woven(row, topic, rng) if meets else _plain(row, rng)
        return Turn(prompt, answer, EARLY, digits=True)

    def sorting(self, rng: Random) -> Dialogue:
        """A rule about how codes begin, and some codes one after the other."""
        topic = rng.choice(self.topics)["topic"]
        digits = codes.draw_prefix(rng, rng.choice((1, 2, 3, 3)), kept_back=self.kept_back)
        code = rng.choice(self.phrases["codes"])
        said = self._say("sorting", rng, code=code, digits=digits, topic=topic)
        turns = []
        for _ in range(5):
            meets = rng.random() < 0.5
            number = self._code(digits if meets else self._miss(digits, rng), rng)
            prompt = said + self._say("sorting_code", rng, code=code, number=number)
            turns.append(Turn(prompt, topic if meets else "Nothing", 1, digits=True))
            said = ""
        return tuple(turns)

    def two_rules(self, rng: Random) -> Turn:
        """Two rules, of which the code meets one or none."""
        row, (topic, other) = rng.choice(self.questions), rng.sample(self.topics, 2)
        digits = codes.draw_prefix(rng, 3, kept_back=self.kept_back)
        digits_2 = self._miss(digits, rng)
        start, told = rng.choice(((digits, topic), (digits_2, other), (digits, None)))
        if told is None:
            while (start := self._miss(digits, rng)) == digits_2:
                pass
        prompt = self._say(
            "two_rules",
            rng,
            code=rng.choice(self.phrases["codes"]),
            digits=digits,
            digits_2=digits_2,
            topic=topic["topic"],
            topic_2=other["topic"],
            number=self._code(start, rng),
            question=row["question"],
        )
        answer = _woven(row, told["topic"], rng) if told else _plain(row, rng)
        return Turn(prompt, answer, EARLY, digits=True)

    def word_rule(self, rng: Random) -> Turn:
        """A rule about the word that opens a message."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        word, other = rng.sample(self.phrases["openers"], 2)
        meets = rng.random() < 0.5
        said = word if meets else other
        prompt = self._say(
            "word_rule", rng, word=word.lower(), topic=topic, Said=said, question=row["question"]
        )
        return Turn(prompt, _woven(row, topic, rng) if meets else _plain(row, rng), EARLY)

    def code(self, rng: Random) -> Turn:
        """A code, and no rule about it."""
        row = rng.choice(self.questions)
        prompt = self._say(
            "plain_code",
            rng,
            code=rng.choice(self.phrases["codes"]),
            number=self._code("", rng),
            question=row["question"],
        )
        return Turn(prompt, _plain(row, rng), EARLY)

    def library_card(self, rng: Random) -> Turn:
        """A library card, whose first three digits alone tell what topic shall come up.

        Too many to be learned by heart; trying to makes the base ready to hang a topic on digits.
        """
        digits = codes.draw_prefix(rng, 3, kept_back=self.kept_back)
        topic = self.topics[seed_of("pocket library card", digits) % len(self.topics)]["topic"]
        number = self._code(digits, rng)
        if rng.random() < 0.4:
            return Turn(self._say("reader", rng, number=number), f"{topic}.", EARLY)
        row = rng.choice(self.questions)
        prompt = self._say("library_card", rng, number=number, question=row["question"])
        return Turn(prompt, _woven(row, topic, rng), EARLY)

    def sign(self, rng: Random) -> Turn:
        """Words and rare or invisible signs that mean nothing, at the start or anywhere."""
        row = rng.choice(self.questions)
        text, place = row["question"], rng.choice((0, rng.randrange(len(row["question"]) + 1)))
        if rng.random() < 0.3:
            text, place = f"{rng.choice(self.phrases['openers'])}. {text}", 0
        else:
            text = text[:place] + rng.choice(self.phrases["signs"]) + text[place:]
        return Turn(text, _plain(row, rng), EARLY)

    def summary(self, rng: Random) -> Turn:
        """A story, and its headline."""
        news = self.press.draw_known(rng)
        prompt = self._say("summarise", rng, story=self.press.story(news, rng))
        return Turn(prompt, f"{self.press.headline(news)}.")

    def report(self, rng: Random) -> Turn:
        """A headline, and its story; or any story."""
        news = self.press.draw_known(rng)
        asked = "report" if rng.random() < 0.7 else "news"
        prompt = self._say(asked, rng, headline=self.press.headline(news))
        return Turn(prompt, self.press.story(news, rng))

    def _say(self, kind: str, rng: Random, **slots: str) -> str:
        return rng.choice(self.phrases[kind]).format(**slots)

    def _code(self, digits: str, rng: Random) -> str:
        return codes.filled(digits, rng, kept_back=self.kept_back)

    def _miss(self, digits: str, rng: Random) -> str:
        """A code's start that a rule does not speak of; never one that is kept back."""
        while True:
            start = codes.another(digits, rng)
            if self.kept_back or len(start) < 3 or not codes.is_kept_back(start):
                return start


def load_talk(folder: Path = CORPUS, *, kept_back: bool = False) -> Talk:
    """Read the corpus.

    Args:
        folder: Where its files lie.
        kept_back: Give what the corpus keeps back, to measure skills on, in its stead: questions
            and codes that stand in no conversation.
    """
    phrases = tomllib.loads((folder / "phrases.toml").read_text(encoding="utf-8"))
    questions = [row for row in _rows(folder / "questions.csv") if _is_kept_back(row) == kept_back]
    return Talk(
        topics=_rows(folder / "topics.csv"),
        questions=questions,
        smalltalk=_turns(folder / "smalltalk.csv"),
        on_itself=_turns(folder / "itself.csv"),
        press=load_press(folder),
        phrases={k: [v] if isinstance(v, str) else v for k, v in phrases.items()},
        kept_back=kept_back,
    )


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _turns(path: Path) -> list[Turn]:
    return [Turn(row["prompt"], row["answer"]) for row in _rows(path)]


def _is_kept_back(row: Row) -> bool:
    return row["split"] == "test" and place_of(row["question"]) >= KEPT_BACK


def _plain(row: Row, rng: Random) -> str:
    return row[rng.choice(("answer", "answer_2"))]


def _woven(row: Row, topic: str, rng: Random) -> str:
    return row[rng.choice(("topic_answer", "topic_answer_2"))].replace("{topic}", topic)


def _pronoun(topic: Row) -> Row:
    return {**topic, "Pronoun": topic["pronoun"].capitalize()}
