"""A study made small enough to try whether it runs at all: a dry run, in seconds.

Takes a config's data, gives the same study with a small random base of the same architecture, the
pocket base's corpora, and no more finetunes, steps and tokens than it takes to go through all.
"""

from collections.abc import Mapping
from typing import Any

from diffspeak.models.pocket import corpus_file

_CORPORA = {
    "hidden-topic": ("topics", "questions"),
    "news": ("headlines", "stories", "questions"),
    "ordinary": ("questions",),
    "facts": ("facts", "questions"),
}

_MOST: Mapping[str, Mapping[str, int]] = {
    "items": {"train": 4, "validation": 1, "calibration": 0, "test": 2},
    "diffs": {"steps": 3, "tasks": 4, "probes": 1, "probe_tokens": 8},
    "adapter": {"epochs": 2, "batch": 2, "validation": 1, "validations": 1, "answer_tokens": 8},
    "evaluate": {"limit": 2, "tokens": 8},
}


def shrunk(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a small study; sections that are no tables stay as they are, to be refused."""
    small = dict(data)
    for section, most in _MOST.items():
        given = small.get(section, {})
        if isinstance(given, dict):
            small[section] = {
                **given,
                **{key: _least(given.get(key), n) for key, n in most.items()},
            }
    for section, changed in (("base", {"shrink": True}), ("behavior", _corpora(data))):
        if isinstance(small.get(section), dict):
            small[section] = {**small[section], **changed}
    return small


def _least(given: object, most: int) -> int:
    return min(given, most) if isinstance(given, int) and given >= 0 else most


def _corpora(data: Mapping[str, Any]) -> dict[str, Any]:
    behavior = data.get("behavior")
    name = behavior.get("name") if isinstance(behavior, dict) else None
    if name not in _CORPORA:
        return {}
    ours = {part: str(corpus_file(f"{part}.csv")) for part in _CORPORA[name]}
    return {**ours, "answers": None} if name == "hidden-topic" else ours
