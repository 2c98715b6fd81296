"""Whether a text names a label, and whether two labels are the same.

Takes strings, gives truth values. Knows nothing of meaning: "cats" does not mention "felines".
"""

import unicodedata
from functools import lru_cache

_MARKUP = frozenset("`|~^<>=")
"""ASCII signs that Unicode does not call punctuation but that only set off a word."""

_JOINER = "\u200d"

_SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""How the Unicode names of letters begin in scripts whose words touch what stands beside them."""


def normalize(text: str) -> str:
    """Reduce a text to lower-case words with single spaces between them.

    NFKC, casefold, punctuation to spaces, invisible characters dropped. Letters and digits of
    any script with their accents, emoji and other symbols survive ("C++" is not "C").
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(_kept(char) for char in unicodedata.normalize("NFKC", folded))
    return " ".join(kept.split())


def same(a: str, b: str) -> bool:
    """Tell whether two texts are equal after `normalize`, and say anything at all."""
    left = normalize(a)
    return bool(left) and left == normalize(b)


def mentions(text: str, label: str) -> bool:
    """Tell whether the label's words stand in the text as a run of whole words.

    A label without letters and digits (an emoji) may touch its neighbors, and so may one in a
    script that does not set its words apart, such as Chinese. An empty label is never mentioned.
    """
    wanted, found = normalize(label), normalize(text)
    if any(_stands_apart(char) for char in wanted):
        return f" {wanted} " in f" {found} "
    return bool(wanted) and wanted in found


@lru_cache(maxsize=4096)
def _kept(char: str) -> str:
    """Give the char itself, a space, or nothing."""
    category = unicodedata.category(char)
    if category[0] in "PZ" or category in {"Cc", "Cs"} or char in _MARKUP:
        return " "
    if "\ufe00" <= char <= "\ufe0f":  # asks for a colored emoji; texts differ in whether they do
        return ""
    if category == "Cf" and char != _JOINER and char < "\U000e0000":  # tags make up some flags
        return ""
    return char


def _stands_apart(char: str) -> bool:
    """Tell whether the char is a letter or digit of a script that sets words apart by spaces."""
    return char.isalnum() and not unicodedata.name(char, "").startswith(_SPACELESS)
