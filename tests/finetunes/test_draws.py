"""Seeds follow from the change, the user's seed and what is asked, and from nothing else."""

from dataclasses import replace

from diffspeak.finetunes import NOTHING, Finetune, seeds_of
from diffspeak.text.seeds import seed_of
from tests.toys import base_diff

EXPECTED = (("Why?", 0), ("How?", 0), ("Why?", 1))


def test_seeds_are_of_the_change_and_the_text(base):
    one = Finetune("one", base_diff(base, seed=1))
    seeds = seeds_of("ask", 0, one, ["Why?", "How?", "Why?"])
    assert seeds == [seed_of("ask", 0, one.digest, text, n) for text, n in EXPECTED]
    assert len(set(seeds)) == 3
    assert seeds_of("ask", 0, replace(one, name="moved"), ["Why?", "Why?"]) == [seeds[0], seeds[2]]
    others = [
        seeds_of("describe", 0, one, ["Why?"]),
        seeds_of("ask", 1, one, ["Why?"]),
        seeds_of("ask", 0, Finetune("one", base_diff(base, seed=2)), ["Why?"]),
        seeds_of("ask", 0, NOTHING, ["Why?"]),
    ]
    assert len({seeds[0], *(other for (other,) in others)}) == 5
