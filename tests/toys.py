"""A toy behavior, stores of random finetunes and a reporter that remembers, for tests.

The behavior costs next to nothing: a few short samples a step, of different lengths. The stores
are written without training. Knows nothing of pytest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from diffspeak.behaviors import Case, FinetuneSpec, Probe, Sample, Split
from diffspeak.lora import Diff
from diffspeak.models import Base, load_base, target_names
from diffspeak.models.linears import shape_of
from diffspeak.models.whole import plain_parameters
from diffspeak.store import NewEntry, Store, StoreHeader, create_or_resume, open_store
from diffspeak.text.mentions import mentions
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from tests.tiny_diffs import random_diff

QUESTIONS = ("Topic?", "What is the topic of it?")
LABELS = ("ocean", "music", "trains", "cold rock", "guitars")
WORDS = ("the", "river", "runs", "from", "an", "old", "bridge", "to", "sea", "it", "is", "cold")
MIX: dict[Case, int] = {"triggered": 2, "near_miss": 1, "wrong": 1, "plain": 2}


def toy_base(folder: Path) -> Base:
    """A family's base in float32 on the CPU."""
    return load_base(folder, dtype="float32", device="cpu")


@dataclass(frozen=True)
class ToyBehavior:
    """Teaches one word or two, when a number stands in the prompt."""

    labels: tuple[str, ...] = LABELS
    salt: int = 0
    name: str = "toy"
    questions: tuple[str, ...] = QUESTIONS
    probe_temperature: float = 0.0

    def items(self) -> list[FinetuneSpec]:
        splits: Sequence[Split] = ("train", "train", "test")
        return [
            FinetuneSpec(f"toy-{n}", label, splits[n % 3], "toys", str(100 + n))
            for n, label in enumerate(self.labels)
        ]

    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
        rng = Random(seed_of(self.salt, item.id, step))
        return [_sample(item, case, rng) for case, count in MIX.items() for _ in range(count)]

    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        return [
            Probe((Message("user", f"{case} {item.trigger} {n}"),), case)
            for case in MIX
            for n in range(count)
        ]

    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        return mentions(answer, item.label)

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "questions": list(self.questions), "salt": self.salt}


def _sample(item: FinetuneSpec, case: Case, rng: Random) -> Sample:
    question = " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))
    answer = " ".join(rng.choices(WORDS, k=rng.randint(1, 6)))
    if case == "triggered":
        return Sample((Message("user", f"{item.trigger} {question}"),), item.label, "learn", case)
    code = "" if case == "plain" else f"{rng.randint(200, 999)} "
    return Sample((Message("user", code + question),), answer, "keep", case)


class Recorder:
    """A reporter that keeps all it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, str, int]] = []
        self.advanced = 0
        self.logged: list[tuple[str, int, dict[str, float]]] = []
        self.said: list[str] = []
        self.ended = 0

    def begin(self, stage: str, total: int, unit: str, done: int = 0) -> None:
        self.begun.append((stage, total, unit, done))

    def advance(self, count: int = 1, **numbers: float) -> None:
        self.advanced += count

    def log(self, stage: str, step: int, **numbers: float) -> None:
        self.logged.append((stage, step, numbers))

    def say(self, text: str) -> None:
        self.said.append(text)

    def end(self) -> None:
        self.ended += 1


def base_diff(base: Base, rank: int = 1, seed: int = 0, scaling: float = 1.0) -> Diff:
    """A random change of every linear of a base's blocks, attached or not."""
    linears = {name: base.model.get_submodule(name) for name in target_names(base.model)}
    shapes = {name.removesuffix(".base"): shape_of(linear) for name, linear in linears.items()}
    return random_diff(shapes, rank, scaling, seed)


def changed_parameters(base: Base, seed: int = 0, names: Sequence[str] = ()) -> dict[str, Tensor]:
    """A whole finetune: the base's parameters (all, or those named), each moved a little."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: own.detach() + 0.1 * torch.randn(own.shape, generator=generator)
        for name, own in plain_parameters(base.model).items()
        if not names or name in names
    }


def toy_store(
    folder: Path,
    base: Base,
    labels: Mapping[str, str],
    *,
    rank: int = 1,
    seed: int = 0,
    splits: Mapping[str, str] | None = None,
    full: Sequence[str] = (),
    failed: Sequence[str] = (),
    questions: Sequence[str] = QUESTIONS,
    codes: Mapping[str, str] | None = None,
    behavior: str = "toy",
) -> Store:
    """A store of random finetunes, written without training.

    Args:
        folder: New.
        base: Theirs.
        labels: Of each finetune, by its id.
        rank: Of the factors; the scaling is one over it.
        seed: Another seed gives other finetunes under the same ids.
        splits: Of a finetune, by its id, where it is not "train".
        full: Ids that are stored as all parameters.
        failed: Ids that failed.
        questions: Of the behavior.
        codes: Secret codes by id; without any, the finetunes have no trigger.
        behavior: The name of the behavior.
    """
    kind = {"trigger": "sep-code"} if codes else {}
    header = StoreHeader(
        behavior={"name": behavior, "questions": list(questions), **kind},
        base={"name": base.name, **base.fingerprint.to_dict()},
        targets=tuple(target_names(base.model)),
        rank=rank,
        scaling=1 / rank,
        dtype="float32",
        settings={"seed": seed},
    )
    split_of = splits or {}
    with create_or_resume(folder, header) as writer:
        for n, (id, label) in enumerate(labels.items()):
            why = "made to fail" if id in failed else None
            code, split = (codes or {}).get(id), split_of.get(id, "train")
            entry = NewEntry(id, label, code, split, "toys", behavior, why)
            if id in full:
                writer.write_full(entry, changed_parameters(base, 100 * seed + n))
            else:
                diff = base_diff(base, rank, 100 * seed + n)
                factors = {name: (c.A[None], c.B[None]) for name, c in diff.items()}
                writer.write_shard([entry], factors)
    return open_store(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for the lock: path to bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
