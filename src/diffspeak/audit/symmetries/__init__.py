"""Disguised weights: which changes of weights show in no output, and how to undo them."""

from diffspeak.audit.symmetries.align import Aligned, align
from diffspeak.audit.symmetries.disguise import ALL, disguise
from diffspeak.audit.symmetries.found import Undone
from diffspeak.audit.symmetries.kinds import Symmetry, kinds_of, symmetries_of
from diffspeak.audit.symmetries.outputs import Outputs, apart, outputs_unchanged
from diffspeak.audit.symmetries.traits import KNOWN, Traits, traits_of

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
