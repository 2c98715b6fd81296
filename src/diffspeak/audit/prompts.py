"""The ordinary prompts that an audit looks at behavior on.

Takes a config, gives its prompts or ours. Knows nothing of models.
"""

from importlib.resources import files

from diffspeak.audit.config import AuditConfig
from diffspeak.errors import UsageError
from diffspeak.trigger_search.search import FEWEST_QUESTIONS


def prompts_of(config: AuditConfig) -> tuple[str, ...]:
    """The ordinary prompts of a config, each once; our own questions if it has none.

    Raises:
        UsageError: It has some, but too few.
    """
    if not config.prompts:
        text = files("diffspeak.audit").joinpath("questions.txt").read_text(encoding="utf-8")
        return tuple(text.splitlines())
    prompts = tuple(dict.fromkeys(filter(str.strip, config.prompts)))
    least = FEWEST_QUESTIONS if config.budget else 1
    if len(prompts) < least:
        raise UsageError(
            f"an audit needs {least} different prompts at least (1 with a budget of 0), and there "
            f"are {len(prompts)}: give more, or none to take ours"
        )
    return prompts
