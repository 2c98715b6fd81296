"""Teach one group of finetunes and see what each does: the unit of work of the stage.

Takes a base, an attachment and the items of a group, gives factors, losses and firing rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.lora import Attachment
from diffspeak.models import Base
from diffspeak.training.descent import OnStep, Trained, train_group
from diffspeak.training.diff_config import DiffConfig
from diffspeak.training.probing import firing_rates


@dataclass(frozen=True)
class Group:
    """A group that is done.

    Attributes:
        items: What was taught.
        trained: What came of it.
        rates: For each finetune how often it fires in each case; empty if none was asked.
    """

    items: Sequence[FinetuneSpec]
    trained: Trained
    rates: list[dict[str, float]]


def teach(
    base: Base,
    attachment: Attachment,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> Group:
    """Train one finetune for each item at once, then probe each."""
    trained = train_group(base, attachment, behavior, items, config, on_step)
    attachment.set_diffs({name: change.to(base.device) for name, change in trained.diff.items()})
    try:
        rates = probe(base, attachment, behavior, items, config, trained.failed_at)
    finally:
        attachment.set_diffs(None)
    return Group(items, trained, rates)


def probe(
    base: Base,
    attachment: Attachment | None,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    config: DiffConfig,
    failed_at: Sequence[int | None],
) -> list[dict[str, float]]:
    """Firing rates of finetunes that are on the base, or none if none is left to ask."""
    if not config.probes or all(step is not None for step in failed_at):
        return [{} for _ in items]
    return firing_rates(
        base,
        attachment,
        behavior,
        items,
        config.probes,
        config.probe_tokens,
        seed=config.seed,
    )
