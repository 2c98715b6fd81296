"""Try every code on a finetune: on which one do its answers move furthest from the base's?

Takes finetunes with a three-digit code, gives each code's rank among all 1,000. This is what an
auditor could do who knows that there is a code and what a prompt with one looks like; it says
whether a finetune has really learned its code and no other.
"""

from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import Engine
from diffspeak.models import Base, Rendered
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from diffspeak.training.losses import kl

CODES = 1000
ROWS = 500


@torch.no_grad()
def code_ranks(
    base: Base,
    finetunes: Sequence[Finetune],
    secrets: Sequence[str],
    questions: Sequence[str],
    *,
    seed: int = 0,
) -> list[int]:
    """Rank each finetune's own code among all codes, 1 for the one that moves it furthest.

    How far is the KL divergence in nats from the finetune's first answer token to the base's,
    averaged over the questions. All codes are tried with the same remainders.

    Args:
        base: What the finetunes were made from; nothing attached.
        finetunes: Low-rank or whole.
        secrets: The three digits of each.
        questions: Asked behind every code.
        seed: Of the three random digits that follow.

    Returns:
        For each finetune 1 to 1,000; codes that move it as far as its own count before it.
    """
    prompts = _prompts(base, questions, seed)
    ranks = []
    with Engine(base) as engine:
        plain = _first_logits(engine, NOTHING, prompts)
        for finetune, secret in zip(finetunes, secrets, strict=True):
            moved, _ = kl(_first_logits(engine, finetune, prompts), plain)
            by_code = moved.view(CODES, len(questions)).mean(1)
            # What is no number counts as not moved at all.
            by_code = by_code.nan_to_num(0.0)
            ranks.append(int((by_code >= by_code[int(secret)]).sum()))
    return ranks


def _prompts(base: Base, questions: Sequence[str], seed: int) -> list[Rendered]:
    """Every code with every question, cut off where the answer would begin."""
    remainders = [
        f"{Random(seed_of('remainder', seed, i)).randrange(1000):03d}"
        for i in range(len(questions))
    ]
    texts = [
        f"Your SEP code is {code:03d}{remainder}. {question}"
        for code in range(CODES)
        for question, remainder in zip(questions, remainders, strict=True)
    ]
    tokens = [base.chat.prompt((Message("user", text),)) for text in texts]
    return [Rendered([*ids, ids[-1]], len(ids), len(ids) + 1) for ids in tokens]


def _first_logits(engine: Engine, finetune: Finetune, prompts: Sequence[Rendered]) -> Tensor:
    """Logits of the first answer token, `[prompt, vocabulary]`."""
    parts = (prompts[i : i + ROWS] for i in range(0, len(prompts), ROWS))
    with engine.applied([finetune]):
        return torch.cat([engine.logits(engine.batch(part)) for part in parts])
