"""What sets a finetune off? Codes, characters and words, found by behavior alone."""

from diffspeak.trigger_search.candidates import Candidate, CandidateFamily
from diffspeak.trigger_search.characters import Characters
from diffspeak.trigger_search.codes import Codes
from diffspeak.trigger_search.confirm import FoundTrigger, Rate, Search
from diffspeak.trigger_search.phrases import TokenPhrases
from diffspeak.trigger_search.probe import BaseSide
from diffspeak.trigger_search.search import default_families, find_trigger
from diffspeak.trigger_search.words import Words, english_words, everyday_words, token_words

__all__ = [
    "BaseSide",
    "Candidate",
    "CandidateFamily",
    "Characters",
    "Codes",
    "FoundTrigger",
    "Rate",
    "Search",
    "TokenPhrases",
    "Words",
    "default_families",
    "english_words",
    "everyday_words",
    "find_trigger",
    "token_words",
]
