"""What a method is: finetunes in, a guess at what each was taught out.

Takes nothing but types; the methods themselves are the other files of this package.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from diffspeak.finetunes import Finetune


class Guess(NamedTuple):
    """What a method says of one finetune.

    Attributes:
        text: The guess; None where there is none to be had, which is no wrong one.
        evidence: What it rests on, a line each, for people.
    """

    text: str | None
    evidence: tuple[str, ...] = ()


class Method(Protocol):
    """A way to a guess. What it needs beside the finetunes it is made with."""

    @property
    def name(self) -> str:
        """What stands in tables."""
        ...

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """A guess at each finetune, in their order, made without a look at labels.

        Raises:
            MismatchError: A finetune is of another base.
            UsageError: The method cannot be used on one of them; the message says why.
        """
        ...
