"""The facts of everything that `diffspeak show` knows, a function a kind."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from diffspeak.adapters import load_adapter
from diffspeak.adapters.saved import CARD
from diffspeak.cli.facts import Facts
from diffspeak.errors import CorruptFileError
from diffspeak.finetunes import base_of, from_store, open_source, recognize
from diffspeak.finetunes.formats.mlx import WEIGHTS as MLX
from diffspeak.finetunes.formats.peft_files import (
    factors,
    oddities,
    read_adapter,
    read_config,
    unknown_keys,
)
from diffspeak.finetunes.tensors import read_safetensors
from diffspeak.io.files import read_json
from diffspeak.io.runs import CONFIG, METRICS, VERSIONS, read_metrics
from diffspeak.lora import Diff
from diffspeak.methods.weight_to_text import load_projection
from diffspeak.methods.weight_to_text.saved import CARD as PROJECTION
from diffspeak.models import load_base, pocket, target_names
from diffspeak.store import Entry, Store, open_store
from diffspeak.text.plain import escaped

FIRST = 8
"""How many entries of a store, and how many failures, are listed."""


def facts_at(path: Path) -> Facts | None:
    """The facts of what is at a path; None if it is nothing that is known.

    What we write ourselves may be a finetune, too: an adapter is a PEFT LoRA, and the config of a
    run has the name of a model's.
    """
    found = recognize(path)
    kind = found.name if found else None
    if kind != "store":
        if (path / CARD).is_file():
            return adapter_facts(path)
        if (path / PROJECTION).is_file():
            return projection_facts(path)
        if is_run(path) and kind in (None, "checkpoint"):
            return run_facts(path)
    if kind is None:
        return None
    facts = _OF_FORMATS.get(kind)
    return facts(path) if facts else {"kind": kind, "source": str(path)}


def adapter_facts(folder: Path) -> Facts:
    """A finished DIT adapter."""
    adapter = load_adapter(folder)
    return {
        "kind": "adapter",
        "source": str(folder),
        "base": adapter.base_name,
        "fingerprint": str(adapter.base),
        "behaviors": adapter.behaviors,
        "change": _change(adapter.diff),
        "results": adapter.results,
        "training": {k: v for k, v in adapter.settings.items() if k != "base"},
        "questions": adapter.questions,
        **run_parts(folder),
    }


def projection_facts(folder: Path) -> Facts:
    """A finished projection of weight-to-text."""
    projection = load_projection(folder)
    return {
        "kind": "projection",
        "source": str(folder),
        "base": projection.base_name,
        "fingerprint": str(projection.base),
        "numbers": sum(tensor.numel() for tensor in projection.tensors.values()),
        "results": projection.results,
        "training": projection.config.model_dump(mode="json"),
        **run_parts(folder),
    }


def peft_facts(folder: Path) -> Facts:
    """An adapter in PEFT's format, which does not say for certain what its base is."""
    config = read_config(folder)
    odd = [*oddities(config), *unknown_keys(config)]
    facts = {
        "kind": f"PEFT {config.get('peft_type')}" if odd else "PEFT LoRA",
        "source": str(folder),
        "base": config.get("base_model_name_or_path"),
        "base verified": False,
    }
    files = read_adapter(folder)
    if odd:
        numbers = sum(tensor.numel() for tensor in files.tensors.values())
        return facts | {
            "beyond a plain LoRA": odd,
            "tensors": len(files.tensors),
            "numbers": numbers,
        }
    diff = factors(files)
    return facts | {"change": _change(diff), "linears": _suffixes(diff)}


def mlx_facts(folder: Path) -> Facts:
    """An adapter of mlx-lm."""
    tensors = read_safetensors(folder / MLX)
    return {
        "kind": "MLX adapter",
        "source": str(folder),
        "base": open_source(str(folder)).base_name(),
        "base verified": False,
        "tensors": len(tensors),
        "numbers": sum(tensor.numel() for tensor in tensors.values()),
    }


def published_facts(path: Path) -> Facts:
    """Finetunes in the paper's format: a `.pt` file or a folder with an index."""
    found = open_source(str(path))
    return {
        "kind": "published finetunes",
        "source": str(path),
        "finetunes": len(found.keys),
        "first": list(found.keys[:5]),
    }


def is_run(folder: Path) -> bool:
    """Whether a run was begun in a folder."""
    return (folder / METRICS).is_file() and (folder / VERSIONS).is_file()


def run_facts(folder: Path) -> Facts:
    """A run: what it made so far, with what config."""
    return {
        "kind": "run",
        "source": str(folder),
        "made": [{"folder": name, "what": what} for name, what in _made(folder)],
        "experiments": _experiments(folder),
        "config": _object(folder / CONFIG),
        **run_parts(folder),
    }


def run_parts(folder: str | Path) -> Facts:
    """Metrics and versions, of anything that was made by a run; empty if it was not."""
    folder = Path(folder)
    if not is_run(folder):
        return {}
    last: dict[str, dict[str, Any]] = {}
    for metric in read_metrics(folder):
        last.setdefault(metric["stage"], {}).update(metric)
    versions = read_json(folder / VERSIONS)
    stages = [
        {
            "stage": name,
            "step": numbers["step"],
            "last": {k: v for k, v in numbers.items() if k not in ("stage", "step")},
        }
        for name, numbers in last.items()
    ]
    return {"metrics": stages, "versions": versions[-1] if versions else {}}


def model_facts(folder: Path) -> Facts:
    """A base model, which is loaded to take its fingerprint."""
    # In bfloat16 on the CPU: half the memory, and the same fingerprint.
    base = load_base(folder, dtype="bfloat16", device="cpu")
    targets = target_names(base.model)
    return {
        "kind": "model",
        "source": str(folder),
        "architecture": base.fingerprint.architecture,
        "parameters": sum(parameter.numel() for parameter in base.model.parameters()),
        "chat template": bool(base.tokenizer.chat_template),
        "fingerprint": base.fingerprint.to_dict(),
        "targets": _suffixes(targets),
    }


def _made(folder: Path) -> Iterable[tuple[str, str]]:
    """The parts of a run that stand in folders of their own."""
    kinds = {
        "store.json": "store",
        "diffspeak.json": "adapter",
        "weight-to-text.json": "projection",
        "checkpoint.safetensors": "adapter in training",
    }
    inside = [folder.glob(f"{kind}/*") for kind in ("stores", "adapters", "projections")]
    for path in [*sorted(folder.iterdir()), *sorted(chain(*inside))]:
        what = next((kind for name, kind in kinds.items() if (path / name).is_file()), None)
        if what:
            yield str(path.relative_to(folder)), what


def _experiments(folder: Path) -> list[Facts]:
    """What came out of each experiment: its first line."""
    if not any(folder.glob("*/table.json")):
        return []
    from diffspeak.experiments.read_results import read_tables

    return [
        {
            "experiment": finding.name,
            "line": finding.main.name,
            "mean score": round(finding.main.mean, 2) if finding.main.mean is not None else "-",
            "finetunes": finding.main.finetunes,
        }
        for finding in read_tables(folder)
    ]


def _change(diff: Diff) -> Facts:
    ranks = sorted({change.rank for change in diff.values()})
    return {
        "rank": ranks[0] if len(ranks) == 1 else ranks,
        "scaling": sorted({change.scaling for change in diff.values()}),
        "linears": len(diff),
        "numbers": sum(change.A.numel() + change.B.numel() for change in diff.values()),
    }


def _suffixes(names: Iterable[str]) -> Facts:
    """How many linears there are of each name, wherever they stand."""
    return dict(Counter(name.rpartition(".")[2] for name in names))


def _object(path: Path) -> Facts:
    found = read_json(path)
    if not isinstance(found, dict):
        raise CorruptFileError(f"{path} holds no JSON object: restore it")
    return found


def store_facts(source: str | Path) -> Facts:
    """What a store holds."""
    store = open_store(str(source))
    failures = [entry for entry in store.entries if entry.kind == "failed"]
    kept = [entry for entry in store.entries if entry.kind != "failed"]
    return {
        "kind": "store",
        "source": store.source,
        **_store_header(store),
        "finetunes": len(store),
        "failed": len(failures),
        "behavior": _behavior(store.header.behavior),
        "training": store.header.settings,
        "choices": store.header.choices,
        "by split": _counts(store.entries),
        "mean": _means(kept),
        "first entries": [_entry_row(entry) for entry in kept[:FIRST]],
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
        **_store_header(store),
        "stats": stats,
        "stored": where,
    }


def _store_header(store: Store) -> Facts:
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


def _entry_row(entry: Entry) -> Facts:
    return {
        "id": entry.id,
        "label": entry.label,
        "trigger": None if entry.trigger is None else escaped(entry.trigger),
        "split": entry.split,
        "loss": entry.stats.get("loss"),
        "fires": entry.stats.get("fires_triggered"),
    }


def pocket_facts() -> Facts:
    """The model, and what ships beside it."""
    folder = pocket.base_folder()
    model = model_facts(folder)
    about = {
        "kind": model.pop("kind"),
        "source": pocket.NAME,
        "version": pocket.VERSION,
        "folder": str(folder),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }
    beside = {
        "topics": _corpus_rows("topics.csv"),
        "questions": _corpus_rows("questions.csv"),
        "headlines": _corpus_rows("headlines.csv"),
        "adapters": [f"{pocket.PREFIX}{behavior}" for behavior in pocket.shipped_adapters()],
    }
    return about | {**model, "source": pocket.NAME} | beside


def _corpus_rows(name: str) -> int:
    with pocket.corpus_file(name).open(encoding="utf-8", newline="") as file:
        return sum(1 for _ in csv.DictReader(file))


_OF_FORMATS: dict[str, Callable[[Path], Facts]] = {
    "store": store_facts,
    "peft": peft_facts,
    "mlx": mlx_facts,
    "published file": published_facts,
    "published folder": published_facts,
    "checkpoint": model_facts,
}
"""By the names of `diffspeak.finetunes.formats.FORMATS`."""
