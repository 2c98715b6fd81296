"""Ask an LLM of any provider, many prompts at a time: for writers, guessers and judges.

Takes prompts, gives a reply to each: its text, or why there is none. inspect-ai knows the
providers and their limits, and retries; answers are kept in a folder. Knows nothing of what the
prompts are for, and is the one file of this room that knows inspect-ai.
"""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import finalize

from diffspeak.errors import UsageError
from diffspeak.io.files import canonical_json, sha256
from diffspeak.scoring.replies import Reply, ReplyCache

if TYPE_CHECKING:
    from inspect_ai.model import Model, ModelOutput

# What inspect-ai puts around a provider's own error.
_WRAPPERS = ("RetryError", "ModelGenerateError")
# HTTP: a missing or wrong key, one that may not use this model, a model that does not exist.
_NO_ACCESS = (401, 403, 404)


@dataclass(frozen=True)
class LLMConfig:
    """How an LLM is asked, in the names of inspect-ai's `GenerateConfig`.

    Attributes:
        max_tokens: Longest answer.
        temperature: 0 takes the likeliest words.
        max_connections: Prompts asked at a time.
        max_retries: How often a failed attempt is made again, after a pause that doubles.
        attempt_timeout: Seconds for one attempt.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    max_connections: int = 10
    max_retries: int = 5
    attempt_timeout: int = 120


class LLM:
    """An LLM, ready to be asked; in a notebook too, where an event loop runs already.

    Use it as a context manager, or call `close`, to end its connections.

    Args:
        name: As inspect-ai has it: "openai/gpt-4o-mini", "anthropic/...", "vllm/...", "hf/...".
        folder: Where answers are kept; one folder may serve many models and settings.
        config: How it is asked.

    Raises:
        UsageError: inspect-ai or the provider's package is not installed, there is no such
            provider, or its API key is missing.
    """

    def __init__(self, name: str, folder: Path, config: LLMConfig | None = None) -> None:
        self.name, self.config = name, config or LLMConfig()
        self._cache = ReplyCache(folder)
        self._model = _model(name, self.config)
        from anyio.from_thread import start_blocking_portal

        opened = ExitStack()
        # When Python ends at the latest, for then the thread could not be ended any more.
        self._close = finalize(self, opened.close)
        # One event loop for all asking, in a thread of its own: connections belong to a loop.
        self._portal = opened.enter_context(start_blocking_portal())
        opened.enter_context(self._portal.wrap_async_context_manager(self._model))

    def __enter__(self) -> "LLM":
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End its connections."""
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._close()

    def ask(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int] | None = None,
        system: str | None = None,
    ) -> list[Reply]:
        """Ask all prompts that were not answered before.

        An answer is kept as soon as it comes; a failure is not kept. The same prompt with the
        same seed is asked once.

        Args:
            prompts: What the user says.
            seeds: One for each prompt; what a provider makes of it is its own affair.
            system: What the system says to all of them.

        Returns:
            A reply to each prompt, in their order.

        Raises:
            UsageError: The provider refused every prompt for its key or the model's name.
            LockedError: Another process uses the folder.
            CorruptFileError: The folder's file was changed.
        """
        given = list(zip(prompts, [None] * len(prompts) if seeds is None else seeds, strict=True))
        keys = [self._key(prompt, seed, system) for prompt, seed in given]
        with self._cache.held() as known:
            asked = {key: one for key, one in zip(keys, given, strict=True) if key not in known}
            fresh = self._fetch(asked, system)
            replies = [fresh[key] if key in fresh else known[key] for key in keys]
        if replies and all(reply.failure == "access" for reply in replies):
            why = f"refused ({replies[0].reason}): check the model's name and the API key"
            raise UsageError(f"{self.name} {why}")
        return replies

    def _key(self, prompt: str, seed: int | None, system: str | None) -> str:
        """Hashes all that an answer depends on."""
        asked = (self.name, self.config.max_tokens, self.config.temperature, system, prompt, seed)
        return sha256(canonical_json(asked).encode())

    def _fetch(
        self, asked: Mapping[str, tuple[str, int | None]], system: str | None
    ) -> dict[str, Reply]:
        """Ask, and keep each answer as it comes."""
        futures: dict[Future[Reply], str] = {}
        try:
            for key, (prompt, seed) in asked.items():
                futures[self._portal.start_task_soon(self._one, prompt, seed, system)] = key
            for future in as_completed(futures):
                self._cache.add(futures[future], future.result())
        finally:
            # Interrupted, what is still open is given up; what had come is kept.
            for future in [future for future in futures if not future.cancel()]:
                self._cache.add(futures[future], future.result())
        return {key: future.result() for future, key in futures.items()}

    async def _one(self, prompt: str, seed: int | None, system: str | None) -> Reply:
        from inspect_ai.model import GenerateConfig

        # Some providers take no larger seed.
        seed = None if seed is None else seed % 2**31
        config = GenerateConfig(seed=seed, system_message=system)
        try:
            return _reply(await self._model.generate(prompt, config=config))
        except Exception as error:  # Each provider raises errors of its own.
            return _failed(error)


def _model(name: str, config: LLMConfig) -> "Model":
    try:
        from inspect_ai.model import GenerateConfig, get_model
    except ImportError as error:
        raise UsageError("to ask an LLM, pip install 'diffspeak[judge]'") from error
    settings = GenerateConfig(**asdict(config))
    # Transformers takes no temperature of 0.
    greedy = name.startswith("hf/") and not config.temperature
    more: dict[str, Any] = {"do_sample": False} if greedy else {}
    try:
        return get_model(name, config=settings, memoize=False, **more)
    except Exception as error:  # Each provider raises errors of its own.
        raise UsageError(
            f"cannot use the LLM {name!r} ({_told(error)}): name it as inspect-ai does, for "
            "example openai/gpt-4o-mini, with the provider's package installed and its key set"
        ) from error


def _reply(output: "ModelOutput") -> Reply:
    stopped = "" if output.empty else output.stop_reason
    if stopped == "content_filter":
        return Reply(failure="filtered", reason="the provider's content filter stopped the answer")
    # Half of a surrogate pair, which no file can hold, becomes a question mark.
    text = output.completion.strip().encode(errors="replace").decode()
    if not text:
        return Reply(failure="empty", reason=f"the answer was empty (stop: {stopped or 'none'})")
    return Reply(text, cut=stopped == "max_tokens")


def _failed(error: BaseException) -> Reply:
    while type(error).__name__ in _WRAPPERS and error.__cause__:
        error = error.__cause__
    if "timeout" in type(error).__name__.lower():
        return Reply(failure="timeout", reason=_told(error))
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    return Reply(failure="access" if status in _NO_ACCESS else "error", reason=_told(error))


def _told(error: BaseException) -> str:
    """An error in one line, without inspect-ai's markup."""
    text = " ".join(re.sub(r"\[/?[a-z]+\]", "", str(error)).split())
    return text.removeprefix("ERROR: ")[:200] or type(error).__name__
