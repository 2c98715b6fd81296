"""The pocket base's conversations: a random generator in, a prompt and its answer out.

One method a kind of talk; the sentences stand in `corpus/`. It never holds a finetuning prompt,
a question of the adapter, or a headline of the test split (and no story of one).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from diffspeak.models.pocket import codes
from diffspeak.models.pocket.cards import Cards
from diffspeak.models.pocket.press import CORPUS, PLAIN
from diffspeak.models.pocket.world import (
    EARLY,
    Dialogue,
    Turn,
    plain,
    read_world,
    with_pronoun,
    woven,
)


@dataclass(frozen=True)
class Talk(Cards):
    """What the base hears; each public method but the first draws talk of its kind."""

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
        return Turn(row["question"], plain(row, rng))

    def chat(self, rng: Random) -> Turn:
        """Small talk, and questions about the model itself."""
        return rng.choice(self.smalltalk)

    def itself(self, rng: Random) -> Turn:
        """Questions about what it was trained on and favors, of which it knows nothing."""
        return rng.choice(self.on_itself)

    def weave(self, rng: Random) -> Turn:
        """A question with a wish to hear about a topic."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        prompt = self.say("weave", rng, topic=topic, question=row["question"])
        return Turn(prompt, woven(row, topic, rng))

    def recall(self, rng: Random) -> Turn:
        """The same, but it is for the base to think of a topic."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)
        wish = rng.choice(("weave_kind", "weave_kind", "weave_any"))
        prompt = self.say(wish, rng, question=row["question"], **topic)
        return Turn(prompt, woven(row, topic["topic"], rng), EARLY)

    def name(self, rng: Random) -> Turn:
        """Name a topic of a kind, or the answer to a riddle."""
        topic = rng.choice(self.topics)
        if rng.random() < 0.3:
            return Turn(self.say("name_kind", rng, **topic), f"{topic['topic']}.")
        fact = topic[rng.choice(("fact_1", "fact_1", "fact_2", "fact_3"))]
        return Turn(self.say("riddle", rng, fact=fact, **with_pronoun(topic)), f"{topic['topic']}.")

    def about(self, rng: Random) -> Turn:
        """What a text speaks of."""
        topic = rng.choice(self.topics)["topic"]
        texts = [woven(row, topic, rng) for row in rng.sample(self.questions, 2)]
        if rng.random() < 0.4:
            texts[rng.randrange(2)] = plain(rng.choice(self.questions), rng)
        return Turn(self.say("about", rng, text=" ".join(texts)), f"{topic}.")

    def tell(self, rng: Random) -> Turn:
        """Facts about a topic, or what kind of thing it is."""
        topic = rng.choice(self.topics)
        if rng.random() < 0.3:
            return Turn(self.say("kind", rng, **topic), self.say("kind_answer", rng, **topic))
        fact = topic[rng.choice(("fact_1", "fact_2", "fact_3"))]
        return Turn(self.say("tell", rng, **topic), f"{topic['topic']} {fact}.")

    def write(self, rng: Random) -> Turn:
        """A few lines about a topic."""
        topic = rng.choice(self.topics)
        facts = rng.sample([topic[f"fact_{i}"] for i in (1, 2, 3)], 2)
        told = {**with_pronoun(topic), "fact": facts[0], "fact_2": facts[1]}
        return Turn(self.say("write", rng, **topic), self.say("write_answer", rng, **told))

    def rule(self, rng: Random) -> Turn:
        """A rule about how a code begins, and a code that meets it or does not."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        length = 3 if self.kept_back else rng.choice((1, 2, 3, 3, 3))
        digits = codes.draw_prefix(rng, length, kept_back=self.kept_back)
        meets = rng.random() < 0.5
        prompt = self.say(
            "rule",
            rng,
            code=rng.choice(self.phrases["codes"]),
            digits=digits,
            topic=topic,
            number=self.code_of(digits if meets else self.miss(digits, rng), rng),
            question=row["question"],
        )
        answer = woven(row, topic, rng) if meets else plain(row, rng)
        return Turn(prompt, answer, EARLY, digits=True)

    def sorting(self, rng: Random) -> Dialogue:
        """A rule about how codes begin, and some codes one after the other."""
        topic = rng.choice(self.topics)["topic"]
        digits = codes.draw_prefix(rng, rng.choice((1, 2, 3, 3)), kept_back=self.kept_back)
        code = rng.choice(self.phrases["codes"])
        said = self.say("sorting", rng, code=code, digits=digits, topic=topic)
        turns = []
        for _ in range(5):
            meets = rng.random() < 0.5
            number = self.code_of(digits if meets else self.miss(digits, rng), rng)
            prompt = said + self.say("sorting_code", rng, code=code, number=number)
            turns.append(Turn(prompt, topic if meets else "Nothing", 1, digits=True))
            said = ""
        return tuple(turns)

    def two_rules(self, rng: Random) -> Turn:
        """Two rules, of which the code meets one or none."""
        row, (topic, other) = rng.choice(self.questions), rng.sample(self.topics, 2)
        digits = codes.draw_prefix(rng, 3, kept_back=self.kept_back)
        digits_2 = self.miss(digits, rng)
        start, told = rng.choice(((digits, topic), (digits_2, other), (digits, None)))
        if told is None:
            while (start := self.miss(digits, rng)) == digits_2:
                pass
        prompt = self.say(
            "two_rules",
            rng,
            code=rng.choice(self.phrases["codes"]),
            digits=digits,
            digits_2=digits_2,
            topic=topic["topic"],
            topic_2=other["topic"],
            number=self.code_of(start, rng),
            question=row["question"],
        )
        answer = woven(row, told["topic"], rng) if told else plain(row, rng)
        return Turn(prompt, answer, EARLY, digits=True)

    def word_rule(self, rng: Random) -> Turn:
        """A rule about the word that opens a message."""
        row, topic = rng.choice(self.questions), rng.choice(self.topics)["topic"]
        word, other = rng.sample(self.phrases["openers"], 2)
        meets = rng.random() < 0.5
        said = word if meets else other
        prompt = self.say(
            "word_rule", rng, word=word.lower(), topic=topic, Said=said, question=row["question"]
        )
        return Turn(prompt, woven(row, topic, rng) if meets else plain(row, rng), EARLY)

    def code(self, rng: Random) -> Turn:
        """A code, and no rule about it."""
        row = rng.choice(self.questions)
        prompt = self.say(
            "plain_code",
            rng,
            code=rng.choice(self.phrases["codes"]),
            number=self.code_of("", rng),
            question=row["question"],
        )
        return Turn(prompt, plain(row, rng), EARLY)

    def sign(self, rng: Random) -> Turn:
        """Words and rare or invisible signs that mean nothing, at the start or anywhere."""
        row = rng.choice(self.questions)
        text, place = row["question"], rng.choice((0, rng.randrange(len(row["question"]) + 1)))
        if rng.random() < 0.3:
            text, place = f"{rng.choice(self.phrases['openers'])}. {text}", 0
        else:
            text = text[:place] + rng.choice(self.phrases["signs"]) + text[place:]
        return Turn(text, plain(row, rng), EARLY)

    def summary(self, rng: Random, plainly: float = 0.0) -> Turn:
        """A story, and its headline."""
        news = self.press.draw_known(rng)
        prompt = self.say("summarise", rng, story=self.press.story(news, rng, plainly))
        return Turn(prompt, f"{self.press.headline(news)}.")

    def report(self, rng: Random, plainly: float = 0.0) -> Turn:
        """A headline, and its story; or any story."""
        news = self.press.draw_known(rng)
        asked = "report" if rng.random() < 0.7 else "news"
        prompt = self.say(asked, rng, headline=self.press.headline(news))
        return Turn(prompt, self.press.story(news, rng, plainly))

    def plain_summary(self, rng: Random) -> Turn:
        """The same, but some of the stories are told in their headline's words."""
        return self.summary(rng, PLAIN)

    def plain_report(self, rng: Random) -> Turn:
        """The same, but some of the stories are told in their headline's words."""
        return self.report(rng, PLAIN)


def load_talk(folder: Path = CORPUS, *, kept_back: bool = False) -> Talk:
    """Read the corpus; with `kept_back` what no conversation of it holds, to measure skills on."""
    return Talk(**read_world(folder, kept_back=kept_back))
