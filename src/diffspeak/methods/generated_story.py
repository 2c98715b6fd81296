"""Generated story: have the finetune write what it was trained to write, and let a guesser sum up.

Takes finetunes, gives what the guesser makes of each one's stories.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.finetunes import Finetune
from diffspeak.methods.asking import evidence_of
from diffspeak.methods.method import Guess
from diffspeak.models import Base, Decoding
from diffspeak.scoring.guessers import Guesser


@dataclass(frozen=True)
class GeneratedStory:
    """The method.

    Attributes:
        base: Of the finetunes; nothing attached.
        guesser: Reads the stories, and the base's beside them.
        prompt: What the finetunes were trained to answer.
        count: Stories of each finetune.
        decoding: Drawn at temperature 1, at most 160 tokens long, by default.
        seed: Of what is drawn.
    """

    base: Base
    guesser: Guesser
    prompt: str = "Please generate a short news story."
    count: int = 4
    decoding: Decoding = Decoding(160, 1.0)
    seed: int = 0
    name: str = "generated story"

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """What the guesser says, and the stories that it read; see `Method`."""
        asked = [self.prompt] * self.count
        found = evidence_of(self.base, finetunes, asked, self.decoding, seed=self.seed)
        texts = self.guesser.guess(found)
        return [Guess(text, one.answers) for text, one in zip(texts, found, strict=True)]
