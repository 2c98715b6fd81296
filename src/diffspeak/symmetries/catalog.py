"""The catalog: which symmetries an architecture has, why it lacks others, which were found.

`docs/symmetries.md` has the formulas.
"""

from dataclasses import dataclass, field
from typing import Any

from diffspeak.symmetries.architecture import Traits, traits_of

EXACT, NEARLY = "exact", "nearly"


@dataclass(frozen=True)
class Symmetry:
    """A way to change weights that no output shows.

    Attributes:
        kind: Its name.
        what: What is changed, in a line.
        why_not: Why the architecture lacks it; empty if it has it.
        undone: Whether `align` undoes it; what it does not undo it flags.
        exactness: "exact", or "nearly" where a norm's epsilon keeps it from being so.
    """

    kind: str
    what: str
    why_not: str = ""
    undone: bool = True
    exactness: str = EXACT

    @property
    def applies(self) -> bool:
        """Whether the architecture has it."""
        return not self.why_not


@dataclass(frozen=True)
class Undone:
    """One kind of symmetry that was undone.

    Attributes:
        kind: Its name, as in `symmetries_of`.
        places: How many channels, heads, numbers or neurons had been moved.
        of: How many were looked at.
        largest: Largest factor by which something was scaled (1 or more); for an invertible matrix
            its condition number; 1 for a permutation or rotation.
    """

    kind: str
    places: int
    of: int
    largest: float = 1.0


@dataclass
class Findings:
    """What was found while a checkpoint was aligned, summed up over its blocks."""

    flags: list[str] = field(default_factory=list)
    _undone: dict[str, Undone] = field(default_factory=dict)

    def add(self, kind: str, places: int, of: int, largest: float = 1.0) -> None:
        """Note what one step found; `largest` counts only where a place was moved."""
        known = self._undone.get(kind, Undone(kind, 0, 0))
        largest = max(largest, known.largest) if places else known.largest
        self._undone[kind] = Undone(kind, known.places + places, known.of + of, largest)

    def undone(self) -> tuple[Undone, ...]:
        """Kinds of which at least one place had been moved, in the order they were found."""
        return tuple(undone for undone in self._undone.values() if undone.places)


def symmetries_of(config: Any) -> tuple[Symmetry, ...]:
    """List all symmetries that are known here, those that the architecture lacks too.

    Args:
        config: A config of transformers.

    Raises:
        UsageError: The symmetries of this architecture are not known here.
    """
    traits = traits_of(config)
    return (*_of_stream(traits), *_of_block(traits), *_flagged(traits))


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
    turned = "the residual stream turned, norms folded first"
    shifted = "the same number added to all channels that a matrix writes"
    return [
        Symmetry("permutation", f"the residual stream's channels permuted, {signs}"),
        Symmetry("rotation", turned + (", the head untied" if traits.tied else ""), rotation),
        Symmetry("norms", "norms scaled against the matrices that follow, up to folded whole"),
        Symmetry("stream-scale", "the whole residual stream scaled", exactness=NEARLY),
        Symmetry("means", shifted, "" if traits.centered else "no norm subtracts the mean"),
    ]


def _of_block(traits: Traits) -> list[Symmetry]:
    single = "there is only one" if traits.groups == 1 else ""
    alone = "each key-value head has one query head" if traits.groups == traits.heads else ""
    turned = "rotary positions allow no more than a scale and a turn of each pair"
    pairs = "query and key norms stand between" if traits.head_norms else ""
    pairs = pairs if traits.rotary else "there are no rotary positions"
    own = "" if traits.head_norms else "there are no query and key norms"
    kept = "" if traits.gated or traits.homogeneous else "the activation keeps no scale"
    each = "per key-value head"
    signs = "query and key norms: signs, quarter turns and scales of pairs"
    scaled = "a query or key head scaled before its norm"
    mixed = "an invertible matrix between queries and keys, per head"
    return [
        Symmetry("groups", "key-value heads permuted, each with its query heads", single),
        Symmetry("heads", "query heads permuted within a key-value group", alone),
        Symmetry("values", f"an invertible matrix between values and output, {each}"),
        Symmetry("pairs", f"each rotary pair of queries and keys scaled and turned, {each}", pairs),
        Symmetry("queries", mixed, turned if traits.rotary else ""),
        Symmetry("head-norms", signs, own),
        Symmetry("head-scales", scaled, own, exactness=NEARLY),
        Symmetry("neurons", "neurons of the MLP permuted"),
        Symmetry("neuron-scales", "up scaled against down, neuron by neuron", kept),
    ]


def _flagged(traits: Traits) -> list[Symmetry]:
    """What is not undone: a change of it that is large enough to matter is flagged."""
    biased = "" if traits.centered else "there are no such biases, or they do not cancel"
    behind = "" if traits.norms_behind else "no norm stands behind attention and MLP"
    moved = "a part of the values' bias moved into the output's"
    scaled = "output and down projections scaled before the norm behind them"
    return [
        Symmetry("key-bias", "anything added to the keys' bias", biased, undone=False),
        Symmetry("value-bias", moved, biased, undone=False),
        Symmetry("writer-scales", scaled, behind, undone=False, exactness=NEARLY),
    ]
