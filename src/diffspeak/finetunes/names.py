"""The names that a base has for what a file changes.

Takes names as a file has them, gives the base's: classes were renamed and nested over the years,
and the text model of a multimodal one also stands alone. All names are changed by one rule, or
none fits.
"""

import re
from collections.abc import Collection, Iterable

from diffspeak.errors import MismatchError

_RULES = (
    (r"", ""),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.model\.", "model."),
    (r"^model\.language_model\.", "model."),
    (r"^model\.(?!language_model\.)", "model.language_model."),
    (r"^", "model."),
    (r"^", "transformer."),
)
"""What current transformers calls older and neighboring names; the first that fits all counts."""


def base_names(
    names: Iterable[str], known: Collection[str], source: str, base: str
) -> dict[str, str]:
    """Map each name of a file to the base's name for it.

    Args:
        names: Of modules or parameters, as the file has them.
        known: The base's.
        source: The file, for messages.
        base: The base, for messages.

    Raises:
        MismatchError: No rule finds all of them in the base; the message names one that is not.
    """
    names = list(names)
    for old, new in _RULES:
        mapped = {name: re.sub(old, new, name, count=1) for name in names}
        if known_all(mapped.values(), known) and len(set(mapped.values())) == len(names):
            return mapped
    stranger = next((name for name in names if name not in known), names[0])
    raise MismatchError(
        f"{source} changes {stranger}, which {base} has not: it was made from another "
        "architecture; give the base it was made from"
    )


def known_all(names: Iterable[str], known: Collection[str]) -> bool:
    """Whether every name is known."""
    return all(name in known for name in names)
