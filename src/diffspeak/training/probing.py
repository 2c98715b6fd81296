"""Did a finetune learn its behavior, and does it stay silent without its trigger?

Takes a stack of diffs and asks each of its finetunes probes of every kind; gives firing rates.
"""

from collections.abc import Sequence

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.lora import Attachment
from diffspeak.models import Base, Decoding, generate
from diffspeak.text.seeds import seed_of


def firing_rates(
    base: Base,
    attachment: Attachment | None,
    behavior: Behavior,
    items: Sequence[FinetuneSpec],
    probes: int,
    max_new_tokens: int,
    *,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Share of answers that show the behavior, by kind of prompt.

    Args:
        base: Has the diffs of `items` attached, one task for each, in order.
        attachment: Its attachment; None where the one finetune is the whole model.
        behavior: Gives the probes and tells whether an answer shows it.
        items: What each task was taught.
        probes: How many probes of each kind.
        max_new_tokens: Longest answer.
        seed: When answers are drawn; what is drawn depends on it, the item and the number of its
            probe alone.

    Returns:
        For each item `{"fires_triggered": 1.0, "fires_near_miss": 0.0, ...}`, each between 0 and
        1, for the kinds that the behavior has.
    """
    asked = [
        (task, probe, seed_of("probe", seed, item.id, number))
        for task, item in enumerate(items)
        for number, probe in enumerate(behavior.probes(item, probes))
    ]
    answers = generate(
        base,
        [base.chat.prompt(probe.prompt) for _, probe, _ in asked],
        Decoding(max_new_tokens, temperature=behavior.probe_temperature),
        seeds=[drawn for _, _, drawn in asked],
        attachment=attachment,
        tasks=None if attachment is None else [task for task, _, _ in asked],
    )
    fired: list[dict[str, list[bool]]] = [{} for _ in items]
    for (task, probe, _), answer in zip(asked, answers, strict=True):
        fires = behavior.fires(items[task], answer.text)
        fired[task].setdefault(f"fires_{probe.case}", []).append(fires)
    return [{case: sum(hits) / len(hits) for case, hits in sorted(one.items())} for one in fired]
