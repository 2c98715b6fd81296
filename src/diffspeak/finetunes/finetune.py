"""One finetune in memory, and how it is put on a base.

A finetune is a low-rank diff, many of which share a batch, or a set of whole parameters, which
is used alone. Knows nothing of files; the readers beside this file make them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from diffspeak.finetunes.digest import content_of
from diffspeak.lora import Attachment, Diff, stack_diffs
from diffspeak.models import Base, Fingerprint, whole


@dataclass(frozen=True)
class Finetune:
    """What was changed in a base.

    Attributes:
        name: Where it came from, for people.
        diff: The low-rank change of each module; empty if it has none.
        parameters: Whole parameters by name; empty for a low-rank finetune.
        base: Fingerprint of the base it was made from; None if its format names none.
        label: What it was taught, if that is known.
        trigger: What sets it off, if that is known.
        split: Which part of its collection it belongs to, if it is of one.
        notes: What a person should know about how it was read.
        captured: For each module the share of its change's squared Frobenius norm that a low-rank
            finetune holds; empty where it holds all.
    """

    name: str
    diff: Diff = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    base: Fingerprint | None = None
    label: str | None = None
    trigger: str | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()
    captured: dict[str, float] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it holds whole parameters, and is therefore used alone."""
        return bool(self.parameters)

    @cached_property
    def digest(self) -> str:
        """What its change is told from all others by, whatever it is called; see `content_of`."""
        return content_of(self.diff, self.parameters)

    def __repr__(self) -> str:
        """One line, without a tensor."""
        ranks = sorted({change.rank for change in self.diff.values()})
        told = []
        if ranks:
            told.append(f"rank {' to '.join(map(str, dict.fromkeys((ranks[0], ranks[-1]))))}")
            told.append(f"{len(self.diff)} modules")
        if self.whole:
            told.append(f"{len(self.parameters)} whole parameters")
        told += [f"taught {self.label!r}"] if self.label is not None else []
        told += [f"note: {note!r}" for note in self.notes]
        return f"Finetune({', '.join([repr(self.name), *(told or ['changes nothing'])])})"


NOTHING = Finetune("no finetune")
"""The base itself."""


def groups(finetunes: Sequence[Finetune]) -> list[list[int]]:
    """Places of the finetunes that can share a pass: all low-rank ones, and each whole one."""
    low_rank = [i for i, finetune in enumerate(finetunes) if not finetune.whole]
    whole_ones = [[i] for i, finetune in enumerate(finetunes) if finetune.whole]
    return ([low_rank] if low_rank else []) + whole_ones


@contextmanager
def put_on(base: Base, attachment: Attachment, group: Sequence[Finetune]) -> Iterator[None]:
    """Within this context the base carries a group's changes, a task each in their order.

    Args:
        base: What they were made from.
        attachment: Of its linears.
        group: Either low-rank finetunes, or a single whole one.

    Raises:
        MismatchError: A change does not fit the base.
    """
    if len(group) == 1 and group[0].whole:
        with whole(base.model, group[0].parameters):
            yield
        return
    stacked = stack_diffs([finetune.diff for finetune in group])
    on_device = {name: change.to(base.device) for name, change in stacked.items()}
    attachment.set_diffs(on_device or None)
    try:
        yield
    finally:
        attachment.set_diffs(None)
