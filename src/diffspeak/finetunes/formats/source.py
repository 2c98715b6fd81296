"""What every format gives: a source, which knows its finetunes and reads each when it is asked."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from diffspeak.errors import UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.places import Location
from diffspeak.lora import Diff
from diffspeak.models import Base


class Source(ABC):
    """Something that holds finetunes. A new format has to give `read`, one of several also `one`.

    Attributes:
        name: As the user typed it.
        keys: Of each finetune it holds, in order; a single empty one if it is one finetune.
        folder: Where a finetune's own files lie; None where a source holds several.
    """

    folder: Path | None = None

    def __init__(self, name: str, keys: Sequence[str]) -> None:
        self.name, self.keys = name, keys

    @abstractmethod
    def read(self, key: str, base: Base) -> Finetune:
        """One of its finetunes, checked against the base."""

    def one(self, name: str, key: str) -> Self:
        """One of its finetunes as a source of its own.

        Args:
            name: Of that source, as the user typed it.
            key: As the user typed it.

        Raises:
            UsageError: It holds no such finetune, or is one itself.
        """
        if key:
            raise UsageError(f"{self.name} holds one finetune; leave out #{key}")
        return self

    def base_name(self) -> str | None:
        """The base it says it was made from, a hub id or a folder; None if it does not say."""
        return None

    def diff_without_base(self, key: str) -> Diff | None:
        """The low-rank change of one finetune, where no base is needed to tell it; else None."""
        del key
        return None


class SingleSource(Source):
    """A location that is one finetune."""

    def __init__(
        self, location: Location, split: str | None = None, limit: int | None = None
    ) -> None:
        """Refuses, as a `UsageError`, that a part of it is asked for."""
        if split or limit:
            raise UsageError(f"{location.name} is one finetune: there is nothing to choose from")
        super().__init__(location.name, [""])
        self.path = self.folder = location.path


class Format(NamedTuple):
    """A line of the table of formats.

    Attributes:
        name: What messages and `show` call it.
        recognize: Whether a path holds it, told by the names of its files or its first bytes.
        open: Its source, from a location, a split and a limit; both may be None, for all.
    """

    name: str
    recognize: Callable[[Path], bool]
    open: Callable[[Location, str | None, int | None], Source]


def text_or_none(value: object) -> str | None:
    """A text out of a stranger's file; None for anything else, and for none."""
    return value if isinstance(value, str) and value else None
