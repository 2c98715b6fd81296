"""Put a question to finetunes, many in one batch, and score given answers.

Takes a base with the adapter set on its attachment, and finetunes; gives answers and the mean
log-probability of answers, a finetune each.
"""

from collections.abc import Sequence

import torch

from diffspeak.finetunes import Finetune, groups, put_on
from diffspeak.lora import Attachment
from diffspeak.models import (
    Answer,
    Base,
    Decoding,
    Rendered,
    generate,
    make_batch,
    readout_of,
)


def ask(
    base: Base,
    attachment: Attachment,
    finetunes: Sequence[Finetune],
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    seeds: Sequence[int] | None = None,
) -> list[Answer]:
    """Let each finetune answer its prompt.

    Args:
        base: Carries the attachment.
        attachment: With the adapter set, or not.
        finetunes: One for each prompt.
        prompts: Token ids.
        decoding: How to choose tokens.
        seeds: One for each prompt when sampling.
    """
    answers: dict[int, Answer] = {}
    for group in groups(finetunes):
        with put_on(base, attachment, [finetunes[i] for i in group]):
            said = generate(
                base,
                [prompts[i] for i in group],
                decoding,
                seeds=None if seeds is None else [seeds[i] for i in group],
                attachment=attachment,
                tasks=range(len(group)),
            )
        answers.update(zip(group, said, strict=True))
    return [answers[i] for i in range(len(finetunes))]


@torch.no_grad()
def mean_logprobs(
    base: Base,
    attachment: Attachment,
    finetunes: Sequence[Finetune],
    conversations: Sequence[Rendered],
) -> list[float]:
    """Mean log-probability of given answers in nats per answer token, one for each finetune."""
    found: dict[int, float] = {}
    readout = readout_of(base.model)
    for group in groups(finetunes):
        batch = make_batch([conversations[i] for i in group], base.chat.pad_id).to(base.device)
        with put_on(base, attachment, [finetunes[i] for i in group]):
            logprobs = readout.logprobs(batch)
        sums = torch.zeros(len(group), device=base.device).index_add(0, batch.rows, logprobs)
        counts = batch.rows.bincount(minlength=len(group))
        found.update(zip(group, (sums / counts).tolist(), strict=True))
    return [found[i] for i in range(len(finetunes))]
