"""Open any finetune; the room that knows PEFT."""

from diffspeak.finetunes.finetune import NOTHING, Finetune, groups, put_on
from diffspeak.finetunes.peft_format import is_peft, read_peft, write_peft
from diffspeak.finetunes.sources import base_of, choose, from_store, load_finetune, open_finetunes

__all__ = [
    "NOTHING",
    "Finetune",
    "base_of",
    "choose",
    "from_store",
    "groups",
    "is_peft",
    "load_finetune",
    "open_finetunes",
    "put_on",
    "read_peft",
    "write_peft",
]
