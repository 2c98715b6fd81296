"""What finetunes answer to prompts of a user's, as they are or with the adapter."""

from collections.abc import Sequence

from diffspeak.finetunes import Finetune, seeds_of
from diffspeak.inference.engine import Ask, Engine, check_finetunes
from diffspeak.models import Base, Decoding


def answers(
    base: Base,
    finetunes: Sequence[Finetune],
    prompts: Sequence[str],
    decoding: Decoding | None = None,
    *,
    seed: int = 0,
) -> list[list[str]]:
    """Let each finetune answer all prompts; low-rank finetunes answer together.

    Args:
        base: Of the finetunes; nothing attached.
        finetunes: `NOTHING` among them stands for the base itself.
        prompts: What a user would type, each in a conversation of its own.
        decoding: Greedy with 64 tokens by default.
        seed: When sampling; what is drawn depends on it, on what the finetune changes, and on the
            prompt alone. A prompt that is given again is answered anew.

    Returns:
        For each finetune its answers, in the order of the prompts.

    Raises:
        MismatchError: A finetune is of another base.
    """
    own = [prompts] * len(finetunes)
    return answers_of(base, finetunes, own, decoding or Decoding(), seed=seed, purpose="answer")


def answers_of(
    base: Base,
    finetunes: Sequence[Finetune],
    prompts: Sequence[Sequence[str]],
    decoding: Decoding,
    *,
    seed: int = 0,
    purpose: str = "ask",
) -> list[list[str]]:
    """The same with prompts of its own for each finetune.

    Args:
        base: Of the finetunes; nothing attached.
        finetunes: `NOTHING` among them stands for the base itself.
        prompts: For each finetune what a user would type.
        decoding: Length, temperature, batch.
        seed: When sampling; see `answers`.
        purpose: No two purposes draw alike.

    Raises:
        MismatchError: A finetune is of another base.
    """
    check_finetunes(base, finetunes)
    with Engine(base) as engine:
        tokens = {text: engine.prompt(text) for text in dict.fromkeys(sum(map(list, prompts), []))}
        asks = [
            Ask(finetune, tokens[text], drawn)
            for finetune, own in zip(finetunes, prompts, strict=True)
            for text, drawn in zip(own, seeds_of(purpose, seed, finetune, own), strict=True)
        ]
        texts = iter([answer.text for answer in engine.generate(asks, decoding)])
    return [[next(texts) for _ in own] for own in prompts]
