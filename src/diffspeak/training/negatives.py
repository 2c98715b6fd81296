"""Changes that teach nothing: what an adapter has to call nothing instead of inventing a label.

An adapter that only ever sees finetunes that were taught something says something of every one.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Literal, get_args

import torch

from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.lora import Diff, LowRank
from diffspeak.text.seeds import seed_of

Negative = Literal["nothing", "random", "shuffled"]
NEGATIVES: tuple[Negative, ...] = get_args(Negative)
"""No change at all; random factors of the same norms; a finetune's own changes in other blocks."""

_BLOCK = re.compile(r"\.(\d+)\.")


def negative_of(kind: Negative, finetune: Finetune, seed: int = 0) -> Finetune:
    """A low-rank finetune without its meaning.

    Args:
        kind: What is left of it.
        finetune: Low-rank; a whole one gives no change at all.
        seed: Of what is drawn, together with the finetune's name.
    """
    if kind == "nothing" or not finetune.diff:
        return NOTHING
    drawn = seed_of("negative", kind, seed, finetune.name)
    diff = _random(finetune.diff, drawn) if kind == "random" else _shuffled(finetune.diff, drawn)
    return replace(finetune, name=f"{finetune.name}, {kind}", diff=diff, label=None, trigger=None)


def negatives_of(finetunes: Sequence[Finetune], share: float, step: int) -> list[Finetune]:
    """Changes without meaning, a share of as many as a step's finetunes, the kinds in turn."""
    return [
        negative_of(NEGATIVES[(step + i) % len(NEGATIVES)], finetunes[i % len(finetunes)], step)
        for i in range(round(share * len(finetunes)))
    ]


def several(kind: Negative, finetunes: Sequence[Finetune], draws: int) -> list[Finetune]:
    """Such changes of each finetune, one for each draw, all under names of their own."""
    return [
        replace(made, name=f"{made.name} {draw}") if draw else made
        for draw in range(draws)
        for made in (negative_of(kind, finetune, draw) for finetune in finetunes)
    ]


def _random(diff: Diff, seed: int) -> Diff:
    """Factors drawn anew, each product as large as it was (Frobenius norm)."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, change in diff.items():
        drawn = LowRank(
            torch.randn(change.A.shape, generator=generator),
            torch.randn(change.B.shape, generator=generator),
            change.scaling,
        )
        size = float(change.float().norm()) / max(float(drawn.norm()), 1e-30)
        found[name] = replace(drawn, B=drawn.B * size)
    return found


def _shuffled(diff: Diff, seed: int) -> Diff:
    """Each change in another block, among linears of one name and shape."""
    alike = defaultdict(list)
    for name, change in diff.items():
        alike[_BLOCK.sub(".*.", name, count=1), change.A.shape, change.B.shape].append(name)
    rng, found = Random(seed), dict(diff)  # noqa: S311
    for names in alike.values():
        # One cycle through all of them, so that none stays where it was.
        order = rng.sample(names, len(names))
        for name, other in zip(order, order[1:] + order[:1], strict=True):
            found[name] = diff[other]
    return found
