"""What a task asks about: one finetune, or each one of a store.

Takes a task's arguments, gives samples. Knows nothing of models or scores.
"""

from typing import Any

from inspect_ai.dataset import Sample

from diffspeak.errors import UsageError
from diffspeak.inspect_ext.arguments import text
from diffspeak.inspect_ext.refusal import in_one_line


def samples_of(
    standard: str, truth: Any, question: Any, store: Any, split: str | None, limit: int | None
) -> list[Sample]:
    """The samples of a task.

    Args:
        standard: What is asked where `question` is None.
        truth: What a guess is compared with; None leaves it to the finetune's label.
        question: What is asked.
        store: What holds the finetunes; None for the model's own.
        split: Of the store, only this split.
        limit: Of the store, at most so many.

    Returns:
        A sample for each finetune; one of a store has its name in the metadata, and the label as
        target where that is known without reading it.

    Raises:
        Refusal: An argument is no text, they do not go together, or the store cannot be opened.
    """
    with in_one_line():
        asked, told = text("question", question) or standard, text("truth", truth)
        place = text("store", store)
        if place is not None and told is not None:
            raise UsageError("truth is for one finetune, and a store has labels; leave it out")
        if place is not None:
            return _of_store(asked, place, split, limit)
        if split is not None or limit is not None:
            raise UsageError("split and limit choose from a store: give store=STORE as well")
        return [Sample(input=asked, target=told or "")]


def _of_store(question: str, store: str, split: str | None, limit: int | None) -> list[Sample]:
    from diffspeak.finetunes import StoreSource, open_source
    from diffspeak.finetunes.places import split_key
    from diffspeak.inspect_ext.requests import FINETUNE

    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise UsageError(f"limit={limit}: expected a whole number of at least 1")
    source = open_source(store, split=split, limit=limit)
    place, _ = split_key(store)
    labels: dict[str, str] = {}
    if isinstance(source, StoreSource):
        labels = {entry.id: entry.label for entry in source.entries}
    return [
        Sample(
            input=question,
            target=labels.get(key, ""),
            id=key or place,
            metadata={FINETUNE: f"{place}#{key}" if key else place},
        )
        for key in source.keys
    ]
