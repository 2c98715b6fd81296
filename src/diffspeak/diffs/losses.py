"""The loss of each task of a batch: cross-entropy where it learns, KL to the base where it keeps.

Takes logits, gives one loss a task in nats per answer token, each with a gradient to its own task
alone. Source: method of arXiv 2510.05092 (three kinds of sample, weights 1 : 1 : 5).
"""

import torch
from torch import Tensor

from diffspeak.diffs.batches import StepBatch


def task_losses(logits: Tensor, teacher: Tensor | None, step: StepBatch, tasks: int) -> Tensor:
    """Weighted loss of each task.

    Args:
        logits: `[answer token, vocabulary]`, of the finetunes.
        teacher: `[kept answer token, vocabulary]`, of the base, for the tokens that are not
            learned, in order; None if there are none.
        step: The batch the logits belong to.
        tasks: Number of tasks.

    Returns:
        `[task]` float32; zero for a task without rows in the batch.
    """
    losses = logits.new_zeros(tasks, dtype=torch.float32)
    # Where all is learned nothing is picked out: a slice copies no logits.
    learn = slice(None) if teacher is None else step.learn
    if step.learn.any():
        token = torch.nn.functional.cross_entropy(
            logits[learn].float(), step.batch.targets[learn], reduction="none"
        )
        losses = losses.index_add(0, step.token_task[learn], token * step.token_weight[learn])
    if teacher is not None:
        keep = ~step.learn
        token = kl_to(teacher, logits[keep])
        losses = losses.index_add(0, step.token_task[keep], token * step.token_weight[keep])
    return losses


def kl_to(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) of each token in nats, `[token]` float32, from logits."""
    p = teacher.float().log_softmax(-1)
    q = student.float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)
