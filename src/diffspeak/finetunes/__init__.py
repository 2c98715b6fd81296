"""Open any finetune, write it in another format; the room that knows PEFT."""

from diffspeak.finetunes.digest import digest_of
from diffspeak.finetunes.draws import SEEDING, seeds_of
from diffspeak.finetunes.export import (
    fuse,
    to_peft,
    to_published,
    to_store,
    write_lora,
    write_merged,
)
from diffspeak.finetunes.finetune import NOTHING, Finetune, groups, put_on
from diffspeak.finetunes.formats import Source, recognize
from diffspeak.finetunes.formats.peft import is_peft
from diffspeak.finetunes.formats.peft_files import read_peft, write_peft
from diffspeak.finetunes.formats.store import StoreSource, base_of, choose, from_store
from diffspeak.finetunes.named_bases import load_named
from diffspeak.finetunes.open import (
    FinetuneRef,
    FinetuneSet,
    load_finetune,
    open_finetune_set,
    open_finetunes,
    open_source,
)

__all__ = [
    "NOTHING",
    "SEEDING",
    "Finetune",
    "FinetuneRef",
    "FinetuneSet",
    "Source",
    "StoreSource",
    "base_of",
    "choose",
    "digest_of",
    "from_store",
    "fuse",
    "groups",
    "is_peft",
    "load_finetune",
    "load_named",
    "open_finetune_set",
    "open_finetunes",
    "open_source",
    "put_on",
    "read_peft",
    "recognize",
    "seeds_of",
    "to_peft",
    "to_published",
    "to_store",
    "write_lora",
    "write_merged",
    "write_peft",
]
