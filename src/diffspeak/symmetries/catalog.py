"""Which symmetries an architecture has, and why it lacks the others.

Takes a config of transformers, gives a list; `docs/symmetries.md` has the formulas. Knows no
tensor.
"""

from dataclasses import dataclass
from typing import Any

from diffspeak.symmetries.architecture import Traits, traits_of

EXACT, NEARLY = "exact", "nearly"


@dataclass(frozen=True)
class Symmetry:
    """A way to change weights that no output shows.

    Attributes:
        kind: Its name, for `disguise`.
        what: What is changed, in a line.
        applies: Whether the architecture has it.
        why_not: If it does not, for what reason.
        undone: Whether `align` undoes it; what it does not undo it flags.
        exactness: "exact", or "nearly" where a norm's epsilon keeps it from being so.
    """

    kind: str
    what: str
    applies: bool = True
    why_not: str = ""
    undone: bool = True
    exactness: str = EXACT


def symmetries_of(config: Any) -> tuple[Symmetry, ...]:
    """List all symmetries that are known here, those that the architecture lacks too.

    Args:
        config: A config of transformers.

    Raises:
        UsageError: The symmetries of this architecture are not known here.
    """
    traits = traits_of(config)
    return (*_of_stream(traits), *_of_attention(traits), *_of_mlp(traits), *_flagged(traits))


def kinds_of(config: Any) -> tuple[str, ...]:
    """Name the symmetries that the architecture has and that can be undone.

    Raises:
        UsageError: As of `symmetries_of`.
    """
    return tuple(s.kind for s in symmetries_of(config) if s.applies and s.undone)


def _of_stream(traits: Traits) -> list[Symmetry]:
    rotation = ""
    if traits.norms_behind:
        rotation = "the norms behind attention and MLP scale channels and cannot be folded away"
    elif traits.centered:
        rotation = "the last norm's weight and bias cannot be folded into a tied head"
    signs = "one sign for all: the mean is subtracted" if traits.centered else "each with its sign"
    return [
        Symmetry("permutation", f"the residual stream's channels permuted, {signs}"),
        Symmetry(
            "rotation",
            "the residual stream turned, norms folded first"
            + (", the head untied" if traits.tied else ""),
            applies=not rotation,
            why_not=rotation,
        ),
        Symmetry("norms", "norms scaled against the matrices that follow, up to folded whole"),
        Symmetry("stream-scale", "the whole residual stream scaled", exactness=NEARLY),
        Symmetry(
            "means",
            "the same number added to all channels that a matrix writes",
            applies=traits.centered,
            why_not="" if traits.centered else "no norm subtracts the mean",
        ),
    ]


def _of_attention(traits: Traits) -> list[Symmetry]:
    single = traits.groups == 1
    alone = traits.groups == traits.heads
    normed = "query and key norms stand between"
    turned = "rotary positions allow no more than a scale and a turn of each pair"
    no_rotary, no_norm = "there are no rotary positions", "there are no query and key norms"
    pairs = no_rotary if not traits.rotary else normed if traits.head_norms else ""
    whole = turned if traits.rotary else ""
    own = "" if traits.head_norms else no_norm
    return [
        Symmetry(
            "groups",
            "key-value heads permuted, each with its query heads",
            not single,
            "there is only one" if single else "",
        ),
        Symmetry(
            "heads",
            "query heads permuted within a key-value group",
            not alone,
            "each key-value head has one query head" if alone else "",
        ),
        Symmetry("values", "an invertible matrix between values and output, per key-value head"),
        Symmetry(
            "pairs",
            "each rotary pair of queries and keys scaled and turned, per key-value head",
            not pairs,
            pairs,
        ),
        Symmetry(
            "queries", "an invertible matrix between queries and keys, per head", not whole, whole
        ),
        Symmetry(
            "head-norms",
            "query and key norms: signs, quarter turns and scales of pairs",
            not own,
            own,
        ),
        Symmetry(
            "head-scales",
            "a query or key head scaled before its norm",
            not own,
            own,
            exactness=NEARLY,
        ),
    ]


def _flagged(traits: Traits) -> list[Symmetry]:
    """What is not undone: a change of it that is large enough to matter is flagged."""
    biased = "" if traits.centered else "there are no such biases, or they do not cancel"
    behind = "" if traits.norms_behind else "no norm stands behind attention and MLP"
    return [
        Symmetry("key-bias", "anything added to the keys' bias", not biased, biased, undone=False),
        Symmetry(
            "value-bias",
            "a part of the values' bias moved into the output's",
            not biased,
            biased,
            undone=False,
        ),
        Symmetry(
            "writer-scales",
            "output and down projections scaled before the norm behind them",
            not behind,
            behind,
            undone=False,
            exactness=NEARLY,
        ),
    ]


def _of_mlp(traits: Traits) -> list[Symmetry]:
    scales = traits.gated or traits.homogeneous
    return [
        Symmetry("neurons", "neurons of the MLP permuted"),
        Symmetry(
            "neuron-scales",
            "up scaled against down, neuron by neuron",
            scales,
            "" if scales else "the activation keeps no scale",
        ),
    ]
