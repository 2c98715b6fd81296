"""Disguised weights: which changes of weights show in no output, and how to undo them."""

from diffspeak.symmetries.align import Aligned, align
from diffspeak.symmetries.architecture import KNOWN, Traits, traits_of
from diffspeak.symmetries.catalog import Symmetry, kinds_of, symmetries_of
from diffspeak.symmetries.disguise import ALL, disguise
from diffspeak.symmetries.found import Undone
from diffspeak.symmetries.outputs import Outputs, apart, outputs_unchanged

__all__ = [
    "ALL",
    "Aligned",
    "KNOWN",
    "Outputs",
    "Symmetry",
    "Traits",
    "Undone",
    "align",
    "apart",
    "disguise",
    "kinds_of",
    "outputs_unchanged",
    "symmetries_of",
    "traits_of",
]
