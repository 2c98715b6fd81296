"""The names that a base has for what a file changes.

Takes names as a file has them, gives the base's: classes were renamed and nested over the years,
and the text model of a multimodal one also stands alone. All names are changed by one rule, or
none fits.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from diffspeak.errors import MismatchError

COMPILED = "_orig_mod."
"""What `torch.compile` puts into the names of a module that it wraps."""


class Renaming(NamedTuple):
    """How names begin in a file, and how the same begin in the base."""

    theirs: str
    ours: str

    def to_base(self, name: str) -> str:
        """The base's name for a file's; as it is where the rule is for others."""
        if not name.startswith(self.theirs) or (self.ours and name.startswith(self.ours)):
            return name
        return self.ours + name.removeprefix(self.theirs)

    def to_file(self, name: str) -> str | None:
        """The file's name for a base's; None for what a file of this kind has no name for."""
        if not name.startswith(self.ours):
            return None
        return self.theirs + name.removeprefix(self.ours)


_RENAMINGS = (
    Renaming("", ""),
    Renaming("language_model.model.", "model.language_model."),
    Renaming("language_model.model.", "model."),
    Renaming("model.language_model.", "model."),
    Renaming("model.", "model.language_model."),
    Renaming("", "model."),
    Renaming("", "transformer."),
)
"""What current transformers calls older and neighboring names; the first that fits all counts."""


def renaming_of(names: Iterable[str], known: Collection[str], source: str, base: str) -> Renaming:
    """The rule by which every name of a file is one of the base's.

    Args:
        names: Of modules or parameters, as the file has them.
        known: The base's.
        source: The file, for messages.
        base: The base, for messages.

    Raises:
        MismatchError: No rule finds all of them in the base; the message names one that is not.
    """
    names = list(names)
    best, most = _RENAMINGS[0], -1
    for renaming in _RENAMINGS:
        mapped = {renaming.to_base(name) for name in names}
        found = len(mapped & set(known))
        if found == len(names):
            return renaming
        if found > most:
            best, most = renaming, found
    stranger = next(name for name in names if best.to_base(name) not in known)
    raise MismatchError(_unknown(source, base, stranger, len(names) - most, len(names)))


def base_names(
    names: Iterable[str], known: Collection[str], source: str, base: str
) -> dict[str, str]:
    """Map each name of a file to the base's name for it; see `renaming_of`."""
    names = list(names)
    renaming = renaming_of(names, known, source, base)
    return {name: renaming.to_base(name) for name in names}


def plain_name(name: str) -> str:
    """A name without what compiling a model put into it."""
    return name.replace(COMPILED, "")


def _unknown(source: str, base: str, stranger: str, count: int, total: int) -> str:
    said = f"{source} changes {stranger}, which {base} has not"
    if 2 * count >= total:
        return f"{said}: it was made from another architecture; give the base it was made from"
    return (
        f"{said} ({count} of its {total} names are unknown there): it was made from a larger "
        "model of this kind, or was damaged; give that base, or save it again"
    )
