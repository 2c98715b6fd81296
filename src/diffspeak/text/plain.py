"""Text that anybody may have written, made safe to print.

Takes labels, descriptions, secrets; gives them on one line with what cannot be seen spelled out.
"""

_JOINERS = "\u200c\u200d"
"""Parts of ordinary words and emoji, though they cannot be seen by themselves."""


def one_line(text: str) -> str:
    """A text on one line; control and other invisible characters become escapes."""
    return "".join(_shown(character) for character in " ".join(text.split()))


def escaped(text: str) -> str:
    """A text in which each character that is not plain ASCII is spelled out."""
    return ascii(text)[1:-1]


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    return ascii(character)[1:-1]
