"""What finetunes answer to prompts as they are, without any adapter.

Takes finetunes and prompts, gives texts. Knows nothing of what the finetunes were taught.
"""

from collections.abc import Sequence

from diffspeak.finetunes import Finetune, groups, put_on, seeds_of
from diffspeak.models import Base, Decoding, attach_to, check_base, generate
from diffspeak.text.messages import Message


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
    for finetune in finetunes:
        if finetune.base is not None:
            check_base(base.fingerprint, finetune.base, f"the finetune {finetune.name}")
    decoding = decoding or Decoding()
    asked = [base.chat.prompt((Message("user", prompt),)) for prompt in prompts]
    said: dict[int, list[str]] = {}
    attachment = attach_to(base.model)
    try:
        for group in groups(finetunes):
            tasks = [task for task in range(len(group)) for _ in asked]
            some = [finetunes[i] for i in group]
            with put_on(base, attachment, some):
                found = generate(
                    base,
                    asked * len(group),
                    decoding,
                    seeds=_seeds(some, prompts, seed) if decoding.draws else None,
                    attachment=attachment,
                    tasks=tasks,
                )
            texts = iter(answer.text for answer in found)
            said.update({i: [next(texts) for _ in asked] for i in group})
    finally:
        attachment.detach()
    return [said[i] for i in range(len(finetunes))]


def _seeds(finetunes: Sequence[Finetune], prompts: Sequence[str], seed: int) -> list[int]:
    """For each finetune those of its answers, one after the other."""
    return [one for finetune in finetunes for one in seeds_of("answer", seed, finetune, prompts)]
