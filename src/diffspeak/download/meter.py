"""Progress in bytes, told to a reporter in a unit that reads well.

Takes counts of bytes, tells whole bytes, kilobytes or megabytes. Knows nothing of what they are of.
"""

from diffspeak.progress import Reporter

_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class Meter:
    """Tells how many of so many bytes are done.

    Args:
        reporter: Whom to tell.
        stage: What is being done.
        total: How many bytes there are.
    """

    def __init__(self, reporter: Reporter, stage: str, total: int) -> None:
        self._reporter, self._total = reporter, total
        # Gigabytes are told in megabytes, for a bar that moves.
        self._size, unit = next(
            (each for each in _UNITS[1:] if total >= 10 * each[0]), (1, "bytes")
        )
        self._done = self._told = 0
        reporter.begin(stage, self._units(total), unit)

    def add(self, count: int) -> None:
        """So many more bytes are done; fewer again, if `count` is negative."""
        self.reach(self._done + count)

    def reach(self, count: int) -> None:
        """So many bytes are done in all; never more than there are."""
        self._done = count
        told = self._units(min(count, self._total))
        if told != self._told:
            self._reporter.advance(told - self._told)
            self._told = told

    def end(self) -> None:
        """All is done."""
        self.reach(self._total)
        self._reporter.end()

    def _units(self, count: int) -> int:
        """Rounded up, so that the last byte ends the bar."""
        return -(-count // self._size)


def size_of(count: int) -> str:
    """A number of bytes in words, such as `8.05 GB`."""
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
