"""What there is to audit: the finetunes of a source or a folder, without the audits in it."""

from diffspeak.audit.output_dir import is_for_audits
from diffspeak.finetunes import FinetuneSet, open_finetune_set


def open_targets(
    name: str, *, split: str | None = None, limit: int | None = None, low_rank: int | None = None
) -> FinetuneSet:
    """Find the finetunes that are to be audited; see `open_finetune_set`."""
    return open_finetune_set(name, split=split, limit=limit, low_rank=low_rank, skip=is_for_audits)
