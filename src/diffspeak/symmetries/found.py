"""What was found while a checkpoint was aligned: moves that were undone, and what stays open.

Takes notes from each step, gives a list. Knows no tensor.
"""

from dataclasses import dataclass, field


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
class Ledger:
    """Sums up what the steps find, block by block."""

    flags: list[str] = field(default_factory=list)
    _undone: dict[str, Undone] = field(default_factory=dict)

    def add(self, kind: str, places: int, of: int, largest: float = 1.0) -> None:
        """Note one step's find; nothing where no place was moved and none was before."""
        known = self._undone.get(kind, Undone(kind, 0, 0))
        largest = max(largest, known.largest) if places else known.largest
        self._undone[kind] = Undone(kind, known.places + places, known.of + of, largest)

    def undone(self) -> tuple[Undone, ...]:
        """Kinds of which at least one place had been moved, in the order they were found."""
        return tuple(undone for undone in self._undone.values() if undone.places)
