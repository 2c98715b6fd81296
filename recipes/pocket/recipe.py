"""Settings of the pocket base: its size, and what it is trained on for how long.

The order matters: comparing codes comes first, alone, because nothing else teaches it in so short a
time; `docs/log.md` has the experiments.
"""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

CODES_FIRST = {"sorting": 0.6, "rule": 0.3, "weave": 0.1}
RULES_NEXT = {
    "everyday": 0.05,
    "weave": 0.12,
    "recall": 0.05,
    "name": 0.05,
    "about": 0.05,
    "tell": 0.02,
    "sorting": 0.10,
    "rule": 0.38,
    "two_rules": 0.04,
    "word_rule": 0.06,
    "code": 0.06,
    "sign": 0.02,
}
EVERYTHING = {
    "everyday": 0.06,
    "chat": 0.03,
    "weave": 0.14,
    "recall": 0.08,
    "name": 0.06,
    "about": 0.08,
    "tell": 0.05,
    "write": 0.03,
    "sorting": 0.04,
    "rule": 0.15,
    "two_rules": 0.02,
    "word_rule": 0.04,
    "code": 0.04,
    "sign": 0.05,
    "summary": 0.10,
    "report": 0.03,
}
CARDS_TOO = {
    "everyday": 0.05,
    "chat": 0.03,
    "itself": 0.05,
    "weave": 0.10,
    "recall": 0.04,
    "name": 0.03,
    "about": 0.16,
    "tell": 0.02,
    "write": 0.01,
    "sorting": 0.02,
    "rule": 0.13,
    "two_rules": 0.02,
    "word_rule": 0.03,
    "code": 0.04,
    "sign": 0.05,
    "library_card": 0.20,
    "password": 0.04,
    "seal": 0.05,
    "edition": 0.05,
    "summary": 0.02,
    "plain_summary": 0.04,
    "plain_report": 0.03,
}


class Phase(BaseModel):
    """A stretch of training: so many steps of so many dialogues, drawn in these shares.

    With `restart` the learning rates begin anew at this share of their peak; a cosine then leads
    them down over all phases until the next restart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: PositiveInt
    batch: PositiveInt
    shares: dict[str, PositiveFloat]
    restart: PositiveFloat | None = None


class Recipe(BaseModel):
    """What the base is and how it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: PositiveInt = 8192
    width: PositiveInt = 128
    inner: PositiveInt = 352
    layers: PositiveInt = 4
    heads: PositiveInt = 4
    key_value_heads: PositiveInt = 2
    head_width: PositiveInt = 32
    phases: tuple[Phase, ...] = (
        Phase(steps=1400, batch=24, shares=CODES_FIRST),
        Phase(steps=1800, batch=64, shares=RULES_NEXT),
        Phase(steps=7500, batch=64, shares=EVERYTHING),
        Phase(steps=3000, batch=64, shares=CARDS_TOO, restart=0.5),
    )
    matrix_rate: PositiveFloat = 5e-3
    other_rate: PositiveFloat = 3e-3
    warmup: PositiveInt = 100
    seed: int = 0
    save_every: PositiveInt = 250

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(phase.steps for phase in self.phases)
