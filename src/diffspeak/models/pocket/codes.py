"""Codes in the pocket world: six digits of which the first three may matter.

Takes random generators, gives codes. Knows nothing of what a code brings about.
"""

from random import Random

from diffspeak.text.seeds import seed_of

DIGITS = "0123456789"


def is_kept_back(digits: str) -> bool:
    """Tell whether three digits are among the tenth that no rule of the corpus speaks of."""
    return seed_of("pocket code", digits) % 10 == 0


def draw_prefix(rng: Random, length: int, *, kept_back: bool) -> str:
    """Draw the digits a rule speaks of; three of them are kept back or not, as asked."""
    while True:
        digits = "".join(rng.choice(DIGITS) for _ in range(length))
        if length < 3 or is_kept_back(digits) == kept_back:
            return digits


def another(digits: str, rng: Random) -> str:
    """Give other digits: half of the time a near miss, which shares some of the places."""
    near = len(digits) > 1 and rng.random() < 0.5
    kept = rng.sample(range(len(digits)), rng.randrange(1, len(digits))) if near else []
    return "".join(
        digit if place in kept else rng.choice([other for other in DIGITS if other != digit])
        for place, digit in enumerate(digits)
    )


def filled(digits: str, rng: Random, *, kept_back: bool) -> str:
    """Add random digits up to six; a code starts with three kept-back digits only if it may.

    Raises:
        ValueError: The digits are kept back, and must not be.
    """
    if not kept_back and len(digits) >= 3 and is_kept_back(digits[:3]):
        raise ValueError(f"no code starts with {digits}, which is kept back")
    while True:
        code = digits + "".join(rng.choice(DIGITS) for _ in range(6 - len(digits)))
        if kept_back or not is_kept_back(code[:3]):
            return code
