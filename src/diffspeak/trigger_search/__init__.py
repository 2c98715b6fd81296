"""What sets a finetune off? Codes, characters and words, found by behavior alone."""

from diffspeak.trigger_search.candidates import Family, Suspect
from diffspeak.trigger_search.characters import Characters
from diffspeak.trigger_search.codes import FRAMES, Codes
from diffspeak.trigger_search.phrases import Phrases
from diffspeak.trigger_search.probe import BaseSide
from diffspeak.trigger_search.result import Rate, Search, Trigger
from diffspeak.trigger_search.search import default_families, find_trigger
from diffspeak.trigger_search.words import Words, english_words, everyday_words, token_words

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
