"""What a trigger brings up joins the claims of the adapter, which may have missed it.

Takes claims and a phrase from answers, gives claims. Knows nothing of how the trigger was found.
"""

from collections.abc import Sequence

from diffspeak.adapter import Adapter
from diffspeak.audit.claims import Claim, says_the_same, scored
from diffspeak.audit.verify_answers import words_of
from diffspeak.finetunes import Finetune
from diffspeak.models import Base


def with_shown(
    base: Base, adapter: Adapter, finetune: Finetune, claims: Sequence[Claim], shown: str | None
) -> list[Claim]:
    """Claims with what a finetune brings up first; those that say a part of it are left out.

    Args:
        base: Of the finetune and the adapter; nothing attached.
        adapter: Scores what it did not claim itself.
        finetune: Of which all is claimed.
        claims: Of the adapter.
        shown: What the finetune brings up; None if that is no phrase.
    """
    if shown is None:
        return list(claims)
    words = set(words_of(shown))
    whole = [claim for claim in claims if not set(words_of(claim.text)) < words]
    same = [claim for claim in whole if says_the_same(claim.text, shown)]
    first = same[:1] or [scored(base, adapter, finetune, shown)]
    return first + [claim for claim in whole if claim not in same]
