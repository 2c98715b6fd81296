"""What each optimizer step draws: the same for the same seed and step, in any order of steps.

Takes seeds and counts, gives indices. Knows nothing of what they pick.
"""

from random import Random

from diffspeak.text.seeds import seed_of


def indices(seed: int, step: int, count: int, total: int) -> list[int]:
    """Draw the `count` of `total` things that a step takes.

    The steps run through one permutation after another, a new one for each epoch; so within an
    epoch each thing is drawn once.
    """
    epochs: dict[int, list[int]] = {}
    drawn = []
    for place in range(step * count, (step + 1) * count):
        epoch, at = divmod(place, total)
        if epoch not in epochs:
            epochs[epoch] = _permutation(seed_of(seed, "epoch", epoch), total)
        drawn.append(epochs[epoch][at])
    return drawn


def _permutation(seed: int, total: int) -> list[int]:
    order = list(range(total))
    Random(seed).shuffle(order)
    return order
