"""The facts of a store, and of one finetune in it.

Takes a store's folder or URL, gives facts. Only what is shown of one finetune is verified.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from diffspeak.cli.facts import Facts
from diffspeak.cli.show_folders import run_parts
from diffspeak.finetunes import base_of, from_store
from diffspeak.store import Entry, Store, open_store
from diffspeak.text.plain import escaped

FIRST = 8
"""How many entries, and how many failures, are listed."""


def store_facts(source: str) -> Facts:
    """What a store holds."""
    store = open_store(source)
    failures = [entry for entry in store.entries if entry.kind == "failed"]
    kept = [entry for entry in store.entries if entry.kind != "failed"]
    return {
        "kind": "store",
        "source": store.source,
        **_header(store),
        "finetunes": len(store),
        "failed": len(failures),
        "behavior": _behavior(store.header.behavior),
        "training": store.header.settings,
        "choices": store.header.choices,
        "by split": _counts(store.entries),
        "mean": _means(kept),
        "first entries": [_row(entry) for entry in kept[:FIRST]],
        "failures": [{"id": entry.id, "why": entry.failed} for entry in failures[:FIRST]],
        **({} if "://" in store.source else run_parts(store.source)),
    }


def entry_facts(source: str, id: str) -> Facts:
    """One finetune of a store, read as a whole so that its checksums are verified."""
    store = open_store(source)
    entry = store.find(id)
    facts = asdict(entry)
    for name in ("shard", "line", "lines", "row", "header", "data", "checksum"):
        del facts[name]
    facts["trigger"] = None if entry.trigger is None else escaped(entry.trigger)
    stats = facts.pop("stats")
    if entry.kind != "failed":
        from_store(store, entry)
    verified = entry.kind != "failed"
    where = {"shard": entry.shard, "row": entry.row, "verified": verified}
    kind = facts.pop("kind")
    return {
        "kind": "store entry",
        "stored as": kind,
        **facts,
        **_header(store),
        "stats": stats,
        "stored": where,
    }


def _header(store: Store) -> Facts:
    header = store.header
    return {
        "base": header.base.get("name"),
        "fingerprint": str(base_of(store)),
        "change": {
            "rank": header.rank,
            "scaling": header.scaling,
            "linears": len(header.targets),
            "dtype": header.dtype,
        },
    }


def _behavior(behavior: dict[str, Any]) -> Facts:
    """A behavior in a few lines: files without the rest of their hashes, questions counted."""
    shown = dict(behavior)
    files = shown.get("files")
    if isinstance(files, dict):
        shown["files"] = [f"{one['file']} #{one['sha256'][:8]}" for one in files.values()]
    return shown


def _counts(entries: Sequence[Entry]) -> list[Facts]:
    counted = Counter((entry.split, str(entry.kind)) for entry in entries)
    kinds = [kind for kind in ("lora", "full", "failed") if any(k == kind for _, k in counted)]
    splits = dict.fromkeys(entry.split for entry in entries)
    return [{"split": split, **{kind: counted[split, kind] for kind in kinds}} for split in splits]


def _means(entries: Sequence[Entry]) -> Facts:
    """Mean of each number that any entry has, over those that have it."""
    values: dict[str, list[float]] = {}
    for entry in entries:
        for name, value in entry.stats.items():
            values.setdefault(name, []).append(value)
    return {name: sum(found) / len(found) for name, found in sorted(values.items())}


def _row(entry: Entry) -> Facts:
    return {
        "id": entry.id,
        "label": entry.label,
        "trigger": None if entry.trigger is None else escaped(entry.trigger),
        "split": entry.split,
        "loss": entry.stats.get("loss"),
        "fires": entry.stats.get("fires_triggered"),
    }
