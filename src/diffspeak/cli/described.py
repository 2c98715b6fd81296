"""What verbs that describe finetunes tell about them, and the table at the end.

Takes finetunes and rows of facts, prints them. Knows nothing of how descriptions come about.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffspeak.cli.facts import Facts, table
from diffspeak.cli.session import Session
from diffspeak.stats import probability_text

if TYPE_CHECKING:
    from diffspeak.adapters import Description
    from diffspeak.finetunes import Finetune, Source


def tell_failed(session: Session, source: "Source", split: str | None = None) -> None:
    """Say how many finetunes of a store are left out because their training failed."""
    from diffspeak.finetunes import StoreSource

    if not isinstance(source, StoreSource):
        return
    failed = sum(
        entry.kind == "failed" and split in (None, entry.split) for entry in source.store.entries
    )
    if failed:
        session.messages.print(f"left out {failed} finetunes whose training failed")


def tell_notes(session: Session, finetune: "Finetune") -> None:
    """Say what a person should know about how a finetune was read."""
    for note in finetune.notes:
        session.messages.print(f"{finetune.name}: {note}", style="dim", soft_wrap=True)


def facts_of(one: "Description", label: str | None, calibrated: bool) -> Facts:
    """A description as facts.

    Args:
        one: What the adapter said.
        label: What the finetune was taught, if that is known.
        calibrated: Whether the adapter is. Then `description` is what is told, `guess` what the
            adapter said, and `probability` and `found` are there; otherwise what it said is told.
    """
    facts = {**one._asdict(), "label": label, "description": one.told}
    guess, judged = facts.pop("text"), {name: facts.pop(name) for name in ("probability", "found")}
    return {**facts, "guess": guess, **judged} if calibrated else facts


def print_described(session: Session, rows: Sequence[Facts]) -> None:
    """Descriptions as a table, with labels and how many are right where labels are known.

    Args:
        session: Where to write.
        rows: With finetune, description, mean_logprob, label (or None); lift, and probability (or
            None), if such are known.
    """
    known = [row for row in rows if row["label"] is not None]
    shown = [
        {
            "finetune": row["finetune"].rpartition("#")[2],
            "description": row["description"],
            "logprob": round(row["mean_logprob"], 2),
            **({"lift": round(row["lift"], 2)} if "lift" in row else {}),
            **({"probability": _probability(row)} if "probability" in row else {}),
            **({"label": row["label"]} if known else {}),
        }
        for row in rows
    ]
    session.results.print(table(shown))
    if known:
        exact = sum(_exact(row["label"], row["description"]) for row in known)
        session.results.print(f"\n{exact} of {len(known)} named exactly")


def _exact(label: str, told: str) -> bool:
    """Whether what is told is the label; of a finetune that was taught nothing, "nothing found"."""
    from diffspeak.adapters import NOTHING_FOUND
    from diffspeak.behaviors.ordinary import NOTHING_LABEL
    from diffspeak.text.mentions import same

    return same(label, told) or (told == NOTHING_FOUND and same(label, NOTHING_LABEL))


def _probability(row: Facts) -> str | None:
    return None if row["probability"] is None else probability_text(row["probability"])
