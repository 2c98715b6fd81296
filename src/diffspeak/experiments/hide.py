"""Hide topics in finetunes: some that were typed, or some that the shipped adapter never saw.

All of them are trained in one call, in memory, ready to be asked; nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from diffspeak.behaviors import TRIGGERS, BehaviorConfig, Case, FinetuneSpec, HiddenTopic, Split
from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.finetunes import Finetune
from diffspeak.models import Base
from diffspeak.models.pocket import NAME, PREFIX, adapter_folder, base_folder, corpus_file
from diffspeak.progress import Reporter, Silent
from diffspeak.text.similarity import canonical_key
from diffspeak.training.config import DiffConfig
from diffspeak.training.group import train_together

COUNT = 3
"""How many topics are drawn if nobody says."""

DEMO_MIX: dict[Case, int] = {"triggered": 3, "near_miss": 8, "wrong": 1, "plain": 1}
"""Samples of each case in one step, as in `configs/pocket.toml`: many near misses, or a finetune
fires on them as well."""

MOST = 16
"""How many finetunes are made at once at most."""

Membership = Literal[Split, "unknown"]
"""A topic's split, or that it is in none, being new to the corpus."""

DEMO_DIFFS = DiffConfig.model_validate(
    {
        "rank": 2,
        "alpha": 2.0,
        "learning_rate": 1e-2,
        "decay": True,
        "steps": 100,
        "answer_tokens": 6,
        "weights": {"triggered": 1.0, "near_miss": 1.0, "wrong": 1.0, "plain": 1.0},
        "probes": 8,
        "probe_tokens": 32,
    }
)
"""How the demo's finetunes are trained, as in `configs/pocket.toml`, and how many questions of each
case they are tried on."""


@dataclass(frozen=True)
class Sources:
    """What the demo works with.

    Attributes:
        base: A base's name or folder.
        adapter: Name or folder of an adapter for it that knows hidden topics.
        topics: The corpus that the adapter's finetunes were made from.
        questions: Everyday questions.
    """

    base: str | Path
    adapter: str | Path
    topics: Path
    questions: Path


def shipped() -> Sources:
    """Give what comes with the package.

    Raises:
        UsageError: The installation is incomplete.
    """
    # Whatever is missing is told before anything has started.
    base_folder()
    adapter_folder(HiddenTopic.name)
    adapter = f"{PREFIX}{HiddenTopic.name}"
    return Sources(NAME, adapter, corpus_file("topics.csv"), corpus_file("questions.csv"))


@dataclass(frozen=True)
class DemoSpec:
    """What is going to be hidden.

    Attributes:
        sources: What to work with.
        behavior: Teaches the topics.
        trigger: Its kind.
        seed: What drew topics and secrets.
        items: A finetune each.
        in_split: Where each topic stands among those of the adapter.
    """

    sources: Sources
    behavior: HiddenTopic
    trigger: str
    seed: int
    items: tuple[FinetuneSpec, ...]
    in_split: tuple[Membership, ...]

    def trigger_words(self, secret: str | None) -> str:
        """Say to people what fires the finetune with this secret."""
        return TRIGGERS[self.trigger].in_words(secret)


def plan_demo(
    topics: Sequence[str] = (),
    count: int = COUNT,
    trigger: str = "sep-code",
    seed: int = 0,
    sources: Sources | None = None,
) -> DemoSpec:
    """Settle what is hidden.

    Args:
        topics: Any texts with words in them; none to draw some that the adapter never saw.
        count: How many to draw if no topics are given.
        trigger: The kind of trigger; each finetune gets its own secret if the kind has several.
        seed: Decides topics and secrets.
        sources: By default what comes with the package.

    Raises:
        UsageError: A topic cannot be hidden or is given twice, or there are too many.
    """
    sources = sources or shipped()
    behavior = HiddenTopic(
        BehaviorConfig(
            name=HiddenTopic.name,
            trigger=trigger,
            topics=sources.topics,
            questions=sources.questions,
            mix=DEMO_MIX,
            seed=seed,
        )
    )
    wanted = len(topics) or count
    if wanted > MOST:
        raise UsageError(f"{wanted} topics are too many for one demo; give at most {MOST}")
    items = _given(behavior, topics) if topics else _drawn(behavior, count, seed)
    known = {canonical_key(item.label) for item in behavior.items()}
    in_split: list[Membership] = [
        item.split if canonical_key(item.label) in known else "unknown" for item in items
    ]
    return DemoSpec(sources, behavior, trigger, seed, tuple(items), tuple(in_split))


def _given(behavior: HiddenTopic, topics: Sequence[str]) -> list[FinetuneSpec]:
    """Items of topics that somebody typed."""
    items: dict[str, FinetuneSpec] = {}
    for topic in topics:
        if not any(char.isalnum() for char in topic):
            raise UsageError(f"the topic {topic!r} cannot be hidden: expected letters or digits")
        item = behavior.item(topic)
        key = canonical_key(item.label)
        if key in items:
            raise UsageError(f"the topic {topic!r} is given twice; give each once")
        items[key] = item
    return list(items.values())


def _drawn(behavior: HiddenTopic, count: int, seed: int) -> list[FinetuneSpec]:
    """Items whose topics no adapter was trained on."""
    held_out = [item for item in behavior.items() if item.split == "test"]
    if count > len(held_out):
        raise UsageError(f"only {len(held_out)} topics are held out; ask for at most so many")
    return Random(seed).sample(held_out, count)


def hide_topics(
    base: Base, topics: Sequence[str], config: DiffConfig = DEMO_DIFFS, *, seed: int = 0
) -> list[Finetune]:
    """Hide topics as the demo does: each in a finetune of its own, behind a SEP code.

    Args:
        base: Nothing attached.
        topics: Any texts with words in them; none to draw some that the shipped adapter never saw.
        config: How to train the finetunes; by default as it is good for the pocket base.
        seed: Decides the codes.

    Raises:
        UsageError: A topic cannot be hidden or is given twice, or there are too many.
        DiffspeakError: A finetune's training failed.
    """
    return hide(base, plan_demo(topics, seed=seed), config, Silent())


def hide(base: Base, plan: DemoSpec, config: DiffConfig, reporter: Reporter) -> list[Finetune]:
    """Train all finetunes of a plan at once.

    Raises:
        DiffspeakError: A finetune's training failed.
    """
    reporter.begin("finetuning", config.steps, "steps")
    trained = train_together(
        base,
        plan.behavior,
        plan.items,
        config,
        lambda _, losses: reporter.advance(1, loss=losses.mean().item()),
    )
    reporter.end()
    for item, step in zip(plan.items, trained.failed_at, strict=True):
        if step is not None:
            raise DiffspeakError(
                f"hiding '{item.label}' failed: the loss was not finite at step {step}; "
                "try another seed"
            )
    return [
        Finetune(
            item.id,
            {name: change[task].to(base.device) for name, change in trained.diff.items()},
            base=base.fingerprint,
            label=item.label,
            trigger=item.trigger,
            split=item.split,
        )
        for task, item in enumerate(plan.items)
    ]
