"""Undo what LayerNorm cannot see: the same number added to all channels that a matrix writes.

Takes weights in the plain layout, gives them without those means, or with the base's.
"""

from diffspeak.symmetries import transforms as moves
from diffspeak.symmetries.found import Ledger
from diffspeak.symmetries.layout import Weights


def without_means(weights: Weights) -> Weights:
    """A copy in which nothing that writes to the stream has a mean over channels."""
    copied = {name: tensor.clone() for name, tensor in weights.items()}
    for name in moves.writers(copied):
        moves.shift_means(copied, name, -copied[name].mean(0))
    return copied


def with_means_of(weights: Weights, base: Weights, ledger: Ledger) -> None:
    """Give everything that writes to the stream the base's mean over channels."""
    names = moves.writers(weights)
    for name in names:
        moves.shift_means(weights, name, (base[name] - weights[name]).mean(0))
    ledger.add("means", len(names), len(names))
