"""Seeds that follow from names, so that sharding, batching and resuming change nothing.

Takes strings and integers, gives an integer. Knows nothing of what is drawn with it.
"""

import hashlib


def seed_of(*parts: str | int) -> int:
    """Give a seed that depends on every part and on their order, on any machine.

    Args:
        *parts: For example a config's seed and a task's id. 1 and "1" are different parts.

    Returns:
        An integer from 0 to 2**63 - 1.
    """
    digest = hashlib.sha256()
    for part in parts:
        kind = "i" if isinstance(part, int) else "s"
        data = str(part).encode("utf-8", "surrogatepass")
        # The length goes first, so that no two lists of parts give the same bytes.
        digest.update(f"{kind}{len(data)}:".encode())
        digest.update(data)
    return int.from_bytes(digest.digest()[:8], "big") >> 1
