"""How long a study's conversations are, also where its corpora or its base's tokenizer are missing.

Takes a config, gives its samples and a chat to render them with. What is missing is stood in for,
and that is said: characters are counted in place of tokens, and texts of the mean length of the
paper's stand for corpora that are not there yet.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.behaviors import Behavior, BehaviorConfig, FinetuneSpec, Sample
from diffspeak.experiments.config import BaseConfig
from diffspeak.models import Rendered, Renderer, chat_of
from diffspeak.models.pocket import NAME as POCKET
from diffspeak.text.messages import Message

CHARACTERS, TURNS = 4.5, 13
"""Characters of English prose in a token of a large vocabulary, and tokens of a chat template."""

PROMPT, ANSWER, LABEL = 97, 1053, 20
"""Mean characters of the paper's prompts with their codes, its answers, and its topics."""

_QUESTION = "q" * 36
"""As long as what the adapter is asked, where a behavior leaves that to others."""


class CountedChat:
    """Renders to as many tokens as a large vocabulary would have: which ones is left open."""

    pad_id = 0

    def with_answer(self, messages: Sequence[Message], answer: str, *, learn_end: bool) -> Rendered:
        """See `Chat`; all ids are 0."""
        prompt = TURNS + sum(_tokens(message.content) for message in messages)
        whole = prompt + _tokens(answer)
        return Rendered([0] * (whole + 1), prompt, whole + learn_end)


@dataclass(frozen=True)
class Texts:
    """What a study's models will read.

    Attributes:
        chat: Renders it.
        steps: For some steps the samples of each finetune of one group.
        labels: Some of what the adapter shall say, each with its question.
        notes: What had to be stood in for.
    """

    chat: Renderer
    steps: Sequence[Sequence[Sequence[Sample]]]
    labels: Sequence[tuple[str, str]]
    notes: Sequence[str]


def texts_of(
    base: BaseConfig,
    behavior: BehaviorConfig,
    made: Behavior | None,
    items: Sequence[FinetuneSpec],
    *,
    tasks: int,
    steps: int,
) -> Texts:
    """Draw some texts of a study.

    Args:
        base: Whose tokenizer is used, if it is here.
        behavior: Settings of what is taught.
        made: The same with its corpora; None where they are missing.
        items: The finetunes to make; none where the corpora are missing.
        tasks: Finetunes of a group.
        steps: How many of its steps to look at.
    """
    notes: list[str] = []
    source, revision = (POCKET, None) if base.shrink else (base.source, base.revision)
    # Texts that stand for others are no prose: a tokenizer would cut them up small.
    chat = None if made is None else chat_of(source, revision)
    if made is None:
        notes.append("tokens are guessed from characters")
    elif chat is None:
        notes.append(f"tokens are guessed from characters: no tokenizer of {base.source} is here")
    if made is None:
        notes.append("texts are taken to be as long as the paper's: the corpora are not there yet")
        samples = [[_unwritten(behavior)] * tasks] * steps
        labels = [(_QUESTION, "l" * LABEL)] * 64
    else:
        samples = [[made.samples(item, step) for item in items[:tasks]] for step in range(steps)]
        question = next(iter(made.questions), _QUESTION)
        labels = [(question, item.label) for item in items[:64]]
    return Texts(chat or CountedChat(), samples, labels, notes)


def _unwritten(behavior: BehaviorConfig) -> list[Sample]:
    """One finetune's samples of one step, as long as the paper's on average."""
    prompt = (Message("user", "x" * PROMPT),)
    learned = behavior.name in ("news", "ordinary")
    return [
        Sample(prompt, "y" * ANSWER, "learn" if learned or case == "triggered" else "keep", case)
        for case, count in behavior.mix.items()
        for _ in range(count)
    ]


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS)
