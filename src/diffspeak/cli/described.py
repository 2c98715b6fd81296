"""What verbs that describe finetunes tell about them, and the table at the end.

Takes finetunes and rows of facts, prints them. Knows nothing of how descriptions come about.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffspeak.cli.facts import Facts, table
from diffspeak.cli.session import Session

if TYPE_CHECKING:
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


def print_described(session: Session, rows: Sequence[Facts]) -> None:
    """Descriptions as a table, with labels and how many are right where labels are known.

    Args:
        session: Where to write.
        rows: With finetune, description, mean_logprob, label (or None), and lift if it is known.
    """
    from diffspeak.text.mentions import same

    known = [row for row in rows if row["label"] is not None]
    shown = [
        {
            "finetune": row["finetune"].rpartition("#")[2],
            "description": row["description"],
            "logprob": round(row["mean_logprob"], 2),
            **({"lift": round(row["lift"], 2)} if "lift" in row else {}),
            **({"label": row["label"]} if known else {}),
        }
        for row in rows
    ]
    session.results.print(table(shown))
    if known:
        exact = sum(same(row["label"], row["description"]) for row in known)
        session.results.print(f"\n{exact} of {len(known)} named exactly")
