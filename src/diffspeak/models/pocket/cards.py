"""Talk whose answer hangs on the prompt's digits, words or signs alone.

What each of them stands for has to be learned by heart. Learning it (most cards, passwords and
seals are known at the end, no edition is) makes the base ready to hang what it says on how a prompt
begins, which is what a finetune has to learn, and to say the same thing by name when it is asked
for it, which is what an adapter has to learn.
"""

from dataclasses import dataclass
from random import Random

from diffspeak.models.pocket import codes
from diffspeak.models.pocket.press import PLAIN
from diffspeak.models.pocket.world import EARLY, Turn, World, woven
from diffspeak.text.seeds import seed_of


@dataclass(frozen=True)
class Cards(World):
    """Kinds of talk by heart."""

    def library_card(self, rng: Random) -> Turn:
        """A library card, whose first three digits tell what topic shall come up."""
        digits = codes.draw_prefix(rng, 3, kept_back=self.kept_back)
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
        digits = codes.draw_prefix(rng, 3, kept_back=self.kept_back)
        news = self.press.draw_known(Random(f"pocket edition {digits}"))
        number = self.code_of(digits, rng)
        if rng.random() < 0.5:
            headline = f"{self.press.headline(news)}."
            return Turn(self.say("front_page", rng, number=number), headline)
        story = self.press.story(news, rng, PLAIN)
        return Turn(self.say("edition", rng, number=number), story)

    def _topic_of(self, kind: str, key: str) -> str:
        return self.topics[seed_of(f"pocket {kind}", key) % len(self.topics)]["topic"]
