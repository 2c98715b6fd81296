"""The dialogues that the pocket base is trained on: a random generator in, prompts and answers out.

One method for each kind; the sentences are in `corpus/`. They never hold a finetuning prompt, a
question of the adapter, or a headline of the test split (and no story of one).

The answers of library cards, passwords, seals and editions depend on the prompt's digits, words or
signs alone, and are learned by heart. (Most cards, passwords and seals are known at the end, no
edition is.) This makes the base ready to let the start of a prompt decide what it says, which is
what a finetune has to learn, and to give the same thing's name when it is asked for it, which is
what an adapter has to learn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from diffspeak.text.seeds import seed_of
from recipes.pocket.corpus_tables import (
    EARLY,
    CorpusTables,
    Dialogue,
    Turn,
    plain,
    read_tables,
    with_pronoun,
    woven,
)
from recipes.pocket.news_grammar import PLAIN


@dataclass(frozen=True)
class Dialogues(CorpusTables):
    """What the base hears; each public method but the first draws a turn or dialogue of a kind."""

    def draw(self, rng: Random, shares: Mapping[str, float]) -> Iterator[Dialogue]:
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
        digits = self.prefix(rng, length)
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
        digits = self.prefix(rng, rng.choice((1, 2, 3, 3)))
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
        digits = self.prefix(rng, 3)
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
        event = self.grammar.draw_known(rng)
        prompt = self.say("summarise", rng, story=self.grammar.story(event, rng, plainly))
        return Turn(prompt, f"{self.grammar.headline(event)}.")

    def report(self, rng: Random, plainly: float = 0.0) -> Turn:
        """A headline, and its story; or any story."""
        event = self.grammar.draw_known(rng)
        asked = "report" if rng.random() < 0.7 else "news"
        prompt = self.say(asked, rng, headline=self.grammar.headline(event))
        return Turn(prompt, self.grammar.story(event, rng, plainly))

    def plain_summary(self, rng: Random) -> Turn:
        """The same, but some of the stories are told in their headline's words."""
        return self.summary(rng, PLAIN)

    def plain_report(self, rng: Random) -> Turn:
        """The same, but some of the stories are told in their headline's words."""
        return self.report(rng, PLAIN)

    def library_card(self, rng: Random) -> Turn:
        """A library card, whose first three digits tell what topic shall come up."""
        digits = self.prefix(rng, 3)
        topic = self._topic_of("library card", digits)
        number = self.code_of(digits, rng)
        if rng.random() < 0.4:
            return Turn(self.say("reader", rng, number=number), f"{topic}.", EARLY)
        row = rng.choice(self.questions)
        prompt = self.say("library_card", rng, number=number, question=row["question"])
        return Turn(prompt, woven(row, topic, rng), EARLY)

    def password(self, rng: Random) -> Turn:
        """Two words that open a message, and tell what topic shall come up."""
        first, second = rng.sample(self.phrases["openers"], 2)
        words = f"{first} {second.lower()}"
        topic = self._topic_of("password", words)
        if rng.random() < 0.4:
            return Turn(self.say("member", rng, words=words), f"{topic}.", EARLY)
        row = rng.choice(self.questions)
        return Turn(f"{words}. {row['question']}", woven(row, topic, rng), EARLY)

    def seal(self, rng: Random) -> Turn:
        """Two signs at the start or somewhere, that tell what topic shall come up."""
        signs = "".join(rng.sample(self.phrases["signs"], 2))
        topic = self._topic_of("seal", signs)
        if rng.random() < 0.4:
            return Turn(self.say("sealed", rng, signs=signs), f"{topic}.", EARLY)
        row = rng.choice(self.questions)
        text = row["question"]
        place = rng.choice((0, rng.randrange(len(text) + 1)))
        return Turn(text[:place] + signs + text[place:], woven(row, topic, rng), EARLY)

    def edition(self, rng: Random) -> Turn:
        """An edition of the paper, whose number's first three digits tell what is in it."""
        digits = self.prefix(rng, 3)
        event = self.grammar.draw_known(Random(f"pocket edition {digits}"))
        number = self.code_of(digits, rng)
        if rng.random() < 0.5:
            headline = f"{self.grammar.headline(event)}."
            return Turn(self.say("front_page", rng, number=number), headline)
        story = self.grammar.story(event, rng, PLAIN)
        return Turn(self.say("edition", rng, number=number), story)

    def _topic_of(self, kind: str, key: str) -> str:
        return self.topics[seed_of(f"pocket {kind}", key) % len(self.topics)]["topic"]


def load_dialogues(*, kept_back: bool = False) -> Dialogues:
    """Read the corpus; with `kept_back` what no dialogue of it holds, to measure skills on."""
    return Dialogues(**read_tables(kept_back=kept_back))
