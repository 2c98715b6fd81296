"""Open any finetune; the room that knows PEFT."""

from diffspeak.finetunes.convert import to_peft, to_published, to_store
from diffspeak.finetunes.digest import digest_of
from diffspeak.finetunes.draws import SEEDING, seeds_of
from diffspeak.finetunes.finetune import NOTHING, Finetune, groups, put_on
from diffspeak.finetunes.fuse import fuse, write_merged
from diffspeak.finetunes.named_bases import load_named
from diffspeak.finetunes.open import load_finetune, open_finetunes, open_source
from diffspeak.finetunes.peft_format import read_peft, write_peft
from diffspeak.finetunes.recognize import is_peft
from diffspeak.finetunes.sources import (
    Source,
    StoreSource,
    base_named,
    base_of,
    choose,
    folder_of,
    from_store,
)

__all__ = [
    "SEEDING",
    "Finetune",
    "NOTHING",
    "Source",
    "StoreSource",
    "base_named",
    "base_of",
    "choose",
    "digest_of",
    "folder_of",
    "from_store",
    "fuse",
    "groups",
    "is_peft",
    "load_finetune",
    "load_named",
    "open_finetunes",
    "open_source",
    "put_on",
    "read_peft",
    "seeds_of",
    "to_peft",
    "to_published",
    "to_store",
    "write_merged",
    "write_peft",
]
