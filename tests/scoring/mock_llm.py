"""An LLM's provider that does as a test says, through inspect-ai's own mock model.

Knows nothing of what is asked.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import NamedTuple
from uuid import uuid4

import pytest
from inspect_ai import model as inspect_model
from inspect_ai.model import GenerateConfig, Model, ModelOutput, ModelUsage, get_model
from tenacity import wait_none

Said = str | ModelOutput | Exception
Answer = Callable[[str], Said | Awaitable[Said]]


class Asked(NamedTuple):
    """One attempt as it reached the provider."""

    model: str
    system: str | None
    prompt: str
    config: GenerateConfig


class StatusError(Exception):
    """A provider's error with its HTTP status."""

    def __init__(self, status: int, text: str = "says the provider") -> None:
        super().__init__(text)
        self.status_code = status


def mock_provider(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> list[Asked]:
    """Have every LLM answer so; gives what it is asked, as it is asked.

    A `TimeoutError` may be tried again, without a pause; any other error is final.
    """
    asked: list[Asked] = []

    def mock(name: str, **settings: object) -> Model:
        async def output(messages, tools, choice, config):
            system = messages[0].text if messages[0].role == "system" else None
            asked.append(Asked(name, system, messages[-1].text, config))
            said = answer(messages[-1].text)
            said = await said if isawaitable(said) else said
            if isinstance(said, Exception):
                raise said
            if isinstance(said, str):
                said = ModelOutput.from_content(name, said)
            # Without it the mock counts tokens, for which it would load a file from the network.
            return said.model_copy(update={"usage": ModelUsage()})

        model = get_model(name, **settings, custom_outputs=output)
        # inspect-ai keeps the number of connections for each of these, as it was first told.
        key = uuid4().hex
        model.api.connection_key = lambda: key
        model.api.should_retry = lambda error: isinstance(error, TimeoutError)
        model.api.retry_wait = wait_none
        return model

    monkeypatch.setattr(inspect_model, "get_model", mock)
    return asked
