"""What inspect-ai finds when it looks for extensions: the provider `diffspeak`, and two tasks.

Imported whenever inspect-ai starts, so it imports nothing heavy: torch comes with the first model.
"""

from typing import TYPE_CHECKING

from inspect_ai import Task, task
from inspect_ai.model import modelapi

from diffspeak.inspect_ext.samples import samples_of
from diffspeak.inspect_ext.scorers import judged
from diffspeak.inspect_ext.solvers import asked, greedy

if TYPE_CHECKING:
    from diffspeak.inspect_ext.provider import FinetuneAPI

Text = str | list[str]
"""A text from the command line, where one with commas arrives in parts."""


@modelapi(name="diffspeak")  # type: ignore[untyped-decorator]
def diffspeak() -> "type[FinetuneAPI]":
    """Give the provider: `diffspeak/FINETUNE`, or `diffspeak/base` for the base itself."""
    from diffspeak.inspect_ext.provider import FinetuneAPI

    return FinetuneAPI


@task  # type: ignore[untyped-decorator]
def hidden_topic(
    truth: Text | None = None,
    question: Text | None = None,
    judge: str = "local",
    store: Text | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> Task:
    """Which topic was hidden in a finetune?

    Args:
        truth: The topic; by default what the finetune itself says it was taught.
        question: What to ask; by default the adapter's first question, or without an adapter
            the behavior's.
        judge: `local` (by spelling), `exact`, or an LLM as inspect-ai names it.
        store: Ask each finetune of a store, or of what else holds several, instead of the model's
            own; the model is `diffspeak/base` with an adapter.
        split: Of the store, only this split.
        limit: Of the store, at most so many finetunes.

    Raises:
        Refusal: An argument is no text, they do not go together, or the store cannot be opened.
    """
    from diffspeak.behaviors import HiddenTopic

    samples = samples_of(HiddenTopic.questions[0], truth, question, store, split, limit)
    return Task(samples, solver=asked(question), scorer=judged(judge), config=greedy())


@task  # type: ignore[untyped-decorator]
def news(
    truth: Text | None = None,
    question: Text | None = None,
    judge: str = "local",
    store: Text | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> Task:
    """Which headline do the stories come from that a finetune learned?

    Args:
        truth: The headline; by default what the finetune itself says it was taught.
        question: What to ask, see `hidden_topic`.
        judge: Who judges, see `hidden_topic`.
        store: Ask each finetune of a store, see `hidden_topic`.
        split: Of the store, only this split.
        limit: Of the store, at most so many finetunes.

    Raises:
        Refusal: An argument is no text, they do not go together, or the store cannot be opened.
    """
    from diffspeak.behaviors.news import News

    samples = samples_of(News.questions[0], truth, question, store, split, limit)
    return Task(samples, solver=asked(question), scorer=judged(judge), config=greedy())
