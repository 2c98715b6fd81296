"""The facts of folders: adapter, projection, PEFT LoRA, run, model.

Takes a folder of a kind that is known already, gives facts.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

from diffspeak.cli.facts import Facts
from diffspeak.errors import CorruptFileError
from diffspeak.finetunes import open_source, read_peft
from diffspeak.finetunes.adapter_files import read_config, read_weights, unknown_keys
from diffspeak.finetunes.peft_format import oddities
from diffspeak.io.files import read_json
from diffspeak.io.runs import CONFIG, METRICS, VERSIONS, read_metrics
from diffspeak.lora import Diff


def adapter_facts(folder: Path) -> Facts:
    """A finished DIT adapter."""
    from diffspeak.adapters import load_adapter

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
    from diffspeak.methods.weight_to_text import load_projection

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
    if odd:
        tensors = read_weights(folder)
        numbers = sum(tensor.numel() for tensor in tensors.values())
        return facts | {"beyond a plain LoRA": odd, "tensors": len(tensors), "numbers": numbers}
    diff = read_peft(folder)
    return facts | {"change": _change(diff), "linears": _suffixes(diff)}


def published_facts(source: str) -> Facts:
    """Finetunes in the paper's format: a `.pt` file or a folder with an index."""
    found = open_source(source)
    return {
        "kind": "published finetunes",
        "source": source,
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
    from diffspeak.models import load_base, target_names

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
