"""Weight diffs on disk: written shard by shard, read lazily, every byte checked."""

from diffspeak.errors import system_errors
from diffspeak.store.layout import Entry, NewEntry, StoreHeader
from diffspeak.store.reader import Store, open_store
from diffspeak.store.tensors import TensorFile
from diffspeak.store.writer import StoreWriter, create_or_resume

__all__ = [
    "Entry",
    "NewEntry",
    "Store",
    "StoreHeader",
    "StoreWriter",
    "TensorFile",
    "create_or_resume",
    "open_store",
    "system_errors",
]
