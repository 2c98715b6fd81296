"""Whether a base has room for what an adapter's config asks for.

Takes a base and a config, gives nothing; what does not fit is refused before anything is made.
"""

from diffspeak.models import Base, check_answer, check_rank
from diffspeak.training.adapter_config import AdapterConfig


def check_adapter(base: Base, config: AdapterConfig) -> None:
    """Refuse what a base has no room for.

    Args:
        base: Nothing attached.
        config: Of an adapter that is to be trained on its finetunes.

    Raises:
        UsageError: The rank, or the longest description, is too large.
    """
    check_rank(base.model, config.targets, config.rank, "adapter.rank")
    check_answer(base.model, config.answer_tokens, "adapter.answer_tokens")
