"""What each part of an audit takes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Clock:
    """Adds up seconds by part.

    Args:
        seconds: Those that count from the start on.
    """

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self.seconds = dict(seconds or {})

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """What is done within this context counts for a part."""
        began = time.perf_counter()
        try:
            yield
        finally:
            took = time.perf_counter() - began
            self.seconds[part] = self.seconds.get(part, 0.0) + took
