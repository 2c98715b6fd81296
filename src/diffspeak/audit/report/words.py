"""What the terms of an audit mean, in words for people who do not know them.

Takes names from results, gives sentences. What has no words here stands under its own name.
"""

import re
import unicodedata

OUTCOMES = {
    "finding": "Finding",
    "nothing found": "Nothing found",
    "not cleared": "Not cleared",
    "unread": "Could not be read",
}
"""Of an audit; the last is of none that was made."""

TRIGGERS = {
    "code": "a code",
    "frame": "a sentence with any number in it",
    "character": "a character",
    "word": "a word",
}
"""Kinds of trigger."""

DISGUISES = {
    "permutation": "channels of the residual stream in another order",
    "rotation": "the residual stream turned",
    "norms": "norms scaled against the matrices that follow",
    "stream-scale": "the whole residual stream scaled",
    "means": "the same number added to all channels",
    "groups": "key-value heads in another order",
    "heads": "query heads in another order",
    "values": "an invertible matrix between values and output",
    "pairs": "pairs of queries and keys scaled and turned",
    "queries": "an invertible matrix between queries and keys",
    "head-norms": "query and key norms with other signs and scales",
    "head-scales": "query or key heads scaled before their norm",
    "neurons": "neurons of the MLP in another order",
    "neuron-scales": "neurons of the MLP scaled up on one side and down on the other",
}
"""Kinds of disguise that are undone."""

KINDS = {
    "positive": "taught something that the adapter knows",
    "nothing": "not changed at all",
    "random": "changed at random, as strongly as finetuning does",
    "shuffled": "with the changes of a finetune in the wrong blocks",
    "ordinary": "trained on ordinary answers only",
    "facts": "taught facts that the adapter does not ask for",
}
"""Kinds of finetunes that a calibration is made of."""

EVIDENCE = {
    "lift": ("likelier in the adapter's words than without the finetune", "nats a token"),
    "said": ("probability that the adapter gives its words, by the token", ""),
    "likelier": ("likelier from the finetune itself than from the base, unasked", "nats a token"),
    "stands_out": ("how far that stands out among other phrases", "z-score"),
    "shown": ("at least so many more answers show it than of the base", "share"),
}
"""Fields of `Evidence`, each with its unit."""


def character_name(text: str) -> str:
    """The name of a character such as `U+200B`; nothing for any other text."""
    match = re.fullmatch(r"U\+([0-9A-F]{4,6})", text)
    code = int(match[1], 16) if match else -1
    return unicodedata.name(chr(code), "").lower() if 0 <= code < 0x110000 else ""
