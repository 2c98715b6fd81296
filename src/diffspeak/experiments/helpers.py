"""Who judges and who guesses from answers: local ones, or LLMs whose replies are kept.

Takes a config and the run's folder, gives both, ready; LLMs are closed at the end.
"""

from contextlib import ExitStack
from pathlib import Path

from diffspeak.experiments.config import JudgeConfig
from diffspeak.scoring import ExactJudge, Judge, LLMJudge, LocalJudge, SentenceEmbedder
from diffspeak.scoring.llm import LLM

LOCAL, EXACT = "local", "exact"


class Helpers:
    """A judge, and an LLM that guesses if one is wanted. Use it as a context manager.

    Args:
        config: Who they are.
        folder: Of the run; replies of LLMs are kept in it.

    Raises:
        UsageError: inspect-ai or the provider's package is not installed, its API key is missing,
            or the embedding model cannot be loaded.
    """

    def __init__(self, config: JudgeConfig, folder: Path) -> None:
        self._open = ExitStack()
        self._folder = folder / "replies"
        self.guessing = None if config.guesser == LOCAL else self._llm(config.guesser)
        self.judge = self._judge(config)

    def __enter__(self) -> "Helpers":
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End all connections."""
        self._open.close()

    def _judge(self, config: JudgeConfig) -> Judge:
        if config.judge == EXACT:
            return ExactJudge()
        if config.judge == LOCAL:
            embedder = None if config.embedding is None else SentenceEmbedder(config.embedding)
            return LocalJudge(embedder)
        return LLMJudge(self._llm(config.judge))

    def _llm(self, name: str) -> LLM:
        return self._open.enter_context(LLM(name, self._folder))
