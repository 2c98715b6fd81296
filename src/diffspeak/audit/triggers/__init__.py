"""What sets a finetune off? Codes, characters and words, found by behavior alone."""

from diffspeak.audit.triggers.characters import Characters
from diffspeak.audit.triggers.codes import FRAMES, Codes
from diffspeak.audit.triggers.phrases import Phrases
from diffspeak.audit.triggers.prober import BaseSide
from diffspeak.audit.triggers.result import Rate, Search, Trigger
from diffspeak.audit.triggers.search import default_families, find_trigger
from diffspeak.audit.triggers.suspects import Family, Suspect
from diffspeak.audit.triggers.words import Words, english_words, everyday_words, token_words

__all__ = [
    "BaseSide",
    "Characters",
    "Codes",
    "FRAMES",
    "Family",
    "Phrases",
    "Rate",
    "Search",
    "Suspect",
    "Trigger",
    "Words",
    "default_families",
    "english_words",
    "everyday_words",
    "find_trigger",
    "token_words",
]
