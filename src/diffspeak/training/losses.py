"""The loss of each task of a batch: cross-entropy where it learns, KL to the base where it keeps.

In nats per answer token; each has a gradient to its own task alone. Source: method of arXiv
2510.05092 (three kinds of sample, weights 1 : 1 : 5).
"""

import torch
from torch import Tensor

from diffspeak.models import LossOf, Readout, cross_entropy
from diffspeak.training.batches import StepBatch


def task_losses(
    readout: Readout, student: Tensor, teacher: Tensor | None, step: StepBatch, tasks: int
) -> Tensor:
    """Weighted loss of each task.

    Args:
        readout: Of the model that both states come from.
        student: `[answer token, ...]`, the finetunes' states.
        teacher: `[kept answer token, ...]`, the base's states for the tokens that are not
            learned, in order; None if there are none.
        step: The batch the states belong to.
        tasks: Number of tasks.

    Returns:
        `[task]` float32; zero for a task without rows in the batch.
    """
    losses = torch.zeros(tasks, device=student.device)
    if len(step.learned):
        learned = student if teacher is None else student.index_select(0, step.learned)
        token = readout.losses(learned, cross_entropy(step.batch.targets[step.learned]))
        losses = losses.index_add(0, *_weighted(token, step, step.learned))
    if teacher is not None:
        token = readout.losses(student.index_select(0, step.kept), kl_to(readout, teacher))
        losses = losses.index_add(0, *_weighted(token, step, step.kept))
    return losses


def _weighted(token: Tensor, step: StepBatch, which: Tensor) -> tuple[Tensor, Tensor]:
    return step.token_task[which], token * step.token_weight[which]


def kl_to(readout: Readout, teacher: Tensor) -> LossOf:
    """`KL(teacher || student)` in nats, of teachers' states `[token, ...]`."""

    def loss_of(logits: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            p = readout.logits(teacher[part]).float()
        return kl(p, logits)

    return loss_of


def kl(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """KL(teacher || student) of each token in nats, and its gradient to the student.

    Args:
        teacher: Float32 logits `[token, vocabulary]`.
        student: The same of the student.

    Returns:
        `[token]` and `[token, vocabulary]`.
    """
    p = teacher.log_softmax(-1)
    q = student.log_softmax(-1)
    likely = p.exp()
    loss = torch.linalg.vecdot(likely, p.sub_(q))
    return loss, q.exp_().sub_(likely)
