"""What came back for a prompt, and a folder that keeps answers so that none is paid for twice.

Takes replies under keys, gives them back; on disk, a file of JSON lines that only grows. Knows
nothing of who was asked, nor of what.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from diffspeak.errors import CorruptFileError
from diffspeak.io.files import append_json, exclusive, make_folder, parse_json, whole_lines

Failure = Literal["access", "error", "timeout", "filtered", "empty"]
"""Why there is no answer. access: the key or the model's name was refused. error, timeout: of the
provider, after all retries. filtered, empty: the model was reached, and said nothing."""


class Reply(NamedTuple):
    """What came back for one prompt.

    Attributes:
        text: The answer, without the space around it; empty if there is none.
        cut: Whether it was cut off at its greatest length.
        failure: Why there is none; None if there is one.
        reason: The same in words, one line.
    """

    text: str = ""
    cut: bool = False
    failure: Failure | None = None
    reason: str = ""

    @property
    def unreached(self) -> bool:
        """Whether the provider failed: asked again, the same prompt may well be answered."""
        return self.failure in ("access", "error", "timeout")


class ReplyCache:
    """Answers in a folder, by key.

    They are read, and added to, while it is held: `with cache.held() as known: ...`.

    Args:
        folder: For `replies.jsonl`; made when it is first held.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "replies.jsonl"
        self._replies: dict[str, Reply] = {}
        self._size = 0

    @contextmanager
    def held(self) -> Iterator[Mapping[str, Reply]]:
        """Keep other processes out; gives all answers by key, theirs too.

        Raises:
            LockedError: Another process holds it.
            CorruptFileError: A line is no reply.
        """
        make_folder(self._path.parent)
        with exclusive(self._path.with_name(".lock")):
            self._read()
            yield self._replies

    def add(self, key: str, reply: Reply) -> None:
        """Keep an answer, on its way to disk at once; a failure or a known key is passed over."""
        if reply.failure or key in self._replies:
            return
        row = {"key": key, "text": reply.text, "cut": reply.cut}
        self._size = append_json(self._path, [row])
        self._replies[key] = reply

    def _read(self) -> None:
        """Read the file, unless it is as we left it; a last line that was cut off is none."""
        lines = []
        if self._path.exists():
            if self._path.stat().st_size == self._size:
                return
            lines = whole_lines(self._path)
        self._replies = dict(_row(self._path, number, line) for number, line in enumerate(lines, 1))
        self._size = sum(len(line) + 1 for line in lines)


def _row(path: Path, number: int, line: bytes) -> tuple[str, Reply]:
    try:
        row = parse_json(line)
    except ValueError:
        row = None
    match row:
        case {"key": str(key), "text": str(text), "cut": bool(cut)}:
            return key, Reply(text, cut)
    raise CorruptFileError(f"{path}, line {number}: not a reply; remove that line")
