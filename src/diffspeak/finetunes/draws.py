"""Seeds of what is drawn about a finetune that was opened.

Takes a finetune and what it is asked, gives seeds. They follow from what the finetune changes,
never from its name, its folder or its place among others: equal finetunes draw alike, wherever they
lie and whoever is asked beside them.
"""

from collections import Counter
from collections.abc import Sequence

from diffspeak.finetunes.finetune import Finetune
from diffspeak.text.seeds import seed_of

SEEDING = 2
"""How seeds are made: grows when that changes, and what was kept of older draws is made anew."""


def seeds_of(purpose: str, seed: int, finetune: Finetune, asked: Sequence[str]) -> list[int]:
    """A seed for each text that a finetune is asked; one that it is asked again is drawn anew.

    Args:
        purpose: What is drawn, so that no two purposes draw alike.
        seed: The user's.
        finetune: Who is asked; `NOTHING` for the base itself.
        asked: All that it is asked in one go, in any order.
    """
    times: Counter[str] = Counter()
    seeds = []
    for text in asked:
        seeds.append(seed_of(purpose, seed, finetune.digest, text, times[text]))
        times[text] += 1
    return seeds
