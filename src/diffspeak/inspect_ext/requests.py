"""inspect-ai's messages and settings as a request of ours, and an answer as its output.

Takes what a provider is handed, gives what a `Desk` takes, and back. What would change an answer
and cannot be done is refused, never left out. Knows nothing of models.
"""

import math
import secrets
from collections.abc import Sequence
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
)

from diffspeak.errors import UsageError
from diffspeak.inspect_ext.batcher import Request, Said
from diffspeak.text.messages import Message

FINETUNE = "finetune"
"""In a request's `extra_body` and a sample's metadata: the finetune that is to answer."""

_NEUTRAL = {
    "top_p": 1.0,
    "top_k": None,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "num_choices": 1,
    "best_of": 1,
    "logit_bias": None,
    "logprobs": False,
    "prompt_logprobs": None,
    "response_schema": None,
    "reasoning_effort": "none",
    "reasoning_tokens": 0,
    "modalities": None,
}
"""Settings that ask for what cannot be done, and the value that asks for nothing."""


def request_of(messages: Sequence[ChatMessage], config: GenerateConfig) -> Request:
    """What is asked of the base.

    Without a seed each request that samples draws one, so that epochs differ.

    Args:
        messages: System, user and assistant, text only.
        config: Of its settings `max_tokens`, `temperature` (0 without one), `seed`, `stop_seqs`
            and in `extra_body` the name of a finetune count.

    Raises:
        UsageError: A message or a setting asks for what cannot be done.
    """
    for name, neutral in _NEUTRAL.items():
        if (value := getattr(config, name, None)) not in (None, neutral):
            raise UsageError(
                f"diffspeak has no {name}, and {name}={value} asks for it; leave it out"
            )
    temperature = config.temperature or 0.0
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UsageError(f"temperature={temperature}: expected a finite number of at least 0")
    seed = secrets.randbits(31) if config.seed is None else config.seed
    said = tuple(_message(message) for message in messages)
    return Request(said, _finetune(config.extra_body), config.max_tokens, temperature, seed)


def output_of(model: str, said: Said, request: Request, config: GenerateConfig) -> ModelOutput:
    """An answer as inspect-ai takes it.

    Args:
        model: Its name.
        said: The answer.
        request: What was asked.
        config: Says at which texts the answer ends.
    """
    text, ended = _cut(said.answer.text, config.stop_seqs or ())
    read, written = said.prompt_tokens, len(said.answer.ids)
    facts: dict[str, Any] = {
        FINETUNE: said.finetune.name,
        "label": said.finetune.label,
        "mean_logprob": said.answer.mean_logprob,
    }
    if request.temperature:
        facts["seed"] = request.seed
    return ModelOutput(
        model=model,
        choices=[
            ChatCompletionChoice(
                message=ChatMessageAssistant(content=text, model=model, source="generate"),
                stop_reason="stop" if ended or said.stopped else "max_tokens",
            )
        ],
        usage=ModelUsage(input_tokens=read, output_tokens=written, total_tokens=read + written),
        metadata=facts,
    )


def _message(message: ChatMessage) -> Message:
    parts = [] if isinstance(message.content, str) else message.content
    strange = [part.type for part in parts if part.type not in ("text", "reasoning")]
    if strange:
        raise UsageError(f"a message holds {strange[0]}, and diffspeak reads text alone")
    if message.role == "tool" or getattr(message, "tool_calls", None):
        raise UsageError("the conversation holds a tool call, and diffspeak knows no tools")
    return Message(message.role, message.text)


def _finetune(body: dict[str, Any] | None) -> str | None:
    unknown = sorted(set(body or {}) - {FINETUNE})
    if unknown:
        raise UsageError(f"extra_body has {unknown[0]}; diffspeak knows {FINETUNE} alone")
    name = (body or {}).get(FINETUNE)
    return None if name is None else str(name)


def _cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """A text up to the first place where it is to end, and whether there is one."""
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return (text[: min(places)].rstrip(), True) if places else (text, False)
