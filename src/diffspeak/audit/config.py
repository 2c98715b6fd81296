"""How an audit is done, and the ordinary prompts it looks at; every default is recommended."""

from importlib.resources import files

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

from diffspeak.errors import UsageError


class AuditConfig(BaseModel):
    """Settings of an audit. Frozen, and written into its results."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    budget: NonNegativeInt = Field(
        default=100_000,
        description="most rows that the search for a trigger reads, prompts read by one model; 0 "
        "skips it",
    )
    align: bool = Field(
        default=True, description="undo disguises of full checkpoints before anything else"
    )
    seed: NonNegativeInt = Field(default=0, description="of all that is drawn")
    prompts: tuple[str, ...] = Field(
        default=(),
        description="ordinary prompts on which behavior is looked at; ours if none are given",
    )
    words: tuple[str, ...] = Field(
        default=(), description="words that are tried as triggers before ours, the likeliest first"
    )
    phrases: NonNegativeInt = Field(
        default=0,
        le=64,
        description="tokens of the phrases that are searched along the gradient when all else "
        "failed; 0 searches none",
    )
    claims: PositiveInt = Field(
        default=3, description="at most so many claims are checked by behavior"
    )
    drawn: NonNegativeInt = Field(
        default=3,
        le=1_000,
        description="descriptions drawn for each question, beside the likeliest one",
    )
    answers: PositiveInt = Field(
        default=24, le=10_000, description="answers that claims are looked for in"
    )
    scored: PositiveInt = Field(default=8, description="prompts behind which claims are scored")
    answer_tokens: PositiveInt = Field(default=48, description="longest answer")


def prompts_of(config: AuditConfig) -> tuple[str, ...]:
    """The ordinary prompts of a config, each once; our own questions if it has none.

    Raises:
        UsageError: It has some, but too few.
    """
    # With torch behind it, which a mistyped option need not wait for.
    from diffspeak.trigger_search.search import FEWEST_QUESTIONS

    if not config.prompts:
        text = files("diffspeak.audit").joinpath("questions.txt").read_text(encoding="utf-8")
        return tuple(text.splitlines())
    prompts = tuple(dict.fromkeys(filter(str.strip, config.prompts)))
    least = FEWEST_QUESTIONS if config.budget else 1
    if len(prompts) < least:
        raise UsageError(
            f"an audit needs {least} different prompts at least (1 with a budget of 0), and there "
            f"are {len(prompts)}: give more, or none to take ours"
        )
    return prompts
