"""Arguments as inspect-ai's command line hands them over: read as YAML, split at commas.

Takes what arrived, gives texts and checked settings. Knows nothing of models.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from diffspeak.errors import UsageError


@dataclass(frozen=True)
class ModelArgs:
    """What stands behind `-M`.

    Attributes:
        base: Hub id, folder or pocket; by default what the adapter or the finetune names.
        adapter: A folder, hub id, or `pocket:hidden-topic` and its like; None for no adapter.
        low_rank: Of a full checkpoint, the best change of this rank.
        device: As torch names it, or `auto`.
        dtype: `float32`, `bfloat16` or `auto`.
    """

    base: str | None = None
    adapter: str | None = None
    low_rank: int | None = None
    device: str = "auto"
    dtype: str = "auto"


def model_args(given: Mapping[str, Any]) -> ModelArgs:
    """Check model args.

    Raises:
        UsageError: One is unknown or of another type.
    """
    known = {field.name for field in fields(ModelArgs)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise UsageError(
            f"the model arg {unknown[0]} is unknown; known are {', '.join(sorted(known))}"
        )
    rank = given.get("low_rank")
    if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool) or rank < 1):
        raise UsageError(f"low_rank={rank}: expected a whole number of at least 1")
    texts = {name: text(name, value) for name, value in given.items() if name != "low_rank"}
    chosen = {name: value for name, value in texts.items() if value is not None}
    return ModelArgs(**{**asdict(ModelArgs()), **chosen, "low_rank": rank})


def text(name: str, value: Any) -> str | None:
    """A text as it was typed; None where none was given.

    Args:
        name: What it is called on the command line, for the message.
        value: A text, or its parts between commas.

    Raises:
        UsageError: YAML has made something else of it, such as a number, or it is empty.
    """
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ",".join(value)
    if not isinstance(value, str):
        raise UsageError(
            f"{name} was read as {value!r}, which is no text: put it in quotes within quotes, "
            f"{name}='\"...\"'"
        )
    if not value.strip():
        raise UsageError(f"{name} is empty: say something, or leave it out")
    return value
