"""The samples of one step of many finetunes, as padded batches with a weight for each token."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffspeak.behaviors import Case, Sample
from diffspeak.models import Batch, Rendered, Renderer, make_batch
from diffspeak.training.config import DiffConfig

CPU = torch.device("cpu")

PADDING = 1.25
"""A batch is cut where padding would add more than a quarter to its tokens..."""

WORTH = 2048
"""...if it holds as many tokens by then: a pass over fewer costs more than their padding."""

TOKENS_CPU, TOKENS_GPU = 4096, 16384
"""Padded tokens of one pass, if the user names none: more than these leave the cache of a CPU, and
fewer leave a GPU idle."""


@dataclass(frozen=True)
class StepBatch:
    """Some rows of one step, of all tasks and kinds mixed.

    Attributes:
        batch: The rows.
        groups: `[group]`, which task each group of rows belongs to, in order. None: one group
            for every task.
        each: How many rows every group has.
        token_task: `[answer token]`, the same for each answer token.
        token_weight: `[answer token]`, what the token's loss counts in its task's loss.
        learned: The answer tokens with cross-entropy, as places in the lists above.
        kept: The answer tokens with KL to the base, likewise.
        keep: The rows with KL alone, for the teacher; None if there are none.
    """

    batch: Batch
    groups: Tensor | None
    each: int
    token_task: Tensor
    token_weight: Tensor
    learned: Tensor
    kept: Tensor
    keep: Batch | None

    def to(self, device: torch.device) -> "StepBatch":
        """Move all tensors."""
        return StepBatch(
            self.batch.to(device),
            None if self.groups is None else self.groups.to(device),
            self.each,
            self.token_task.to(device),
            self.token_weight.to(device),
            self.learned.to(device),
            self.kept.to(device),
            None if self.keep is None else self.keep.to(device),
        )


@dataclass(frozen=True)
class _Row:
    task: int
    sample: Sample
    rendered: Rendered
    weight: float


def step_batches(
    samples: Sequence[Sequence[Sample]],
    chat: Renderer,
    config: DiffConfig,
    device: torch.device = CPU,
) -> Iterator[StepBatch]:
    """Render one step's samples of every task and cut them into batches of like length.

    A task's loss is, summed over the kinds of sample, the kind's weight times the mean over the
    kind's answer tokens; the end-of-turn token is not scored (method of arXiv 2510.05092).

    Args:
        samples: For each task its samples of this step.
        chat: Renders them.
        config: Weights of the kinds, how much of an answer is learned, how large a batch may be.
        device: Where the batches shall be.
    """
    rows: list[_Row] = []
    for task, block in enumerate(samples):
        rendered = [_rendered(sample, chat, config.answer_tokens) for sample in block]
        tokens: dict[Case, int] = {}
        for sample, r in zip(block, rendered, strict=True):
            tokens[sample.case] = tokens.get(sample.case, 0) + r.answer_end - r.prompt_length
        rows += [
            _Row(task, sample, r, config.weights[sample.case] / tokens[sample.case])
            for sample, r in zip(block, rendered, strict=True)
        ]
    rows.sort(key=lambda row: row.rendered.answer_end)
    most = config.max_tokens or (TOKENS_CPU if device.type == "cpu" else TOKENS_GPU)
    for part in _parts(rows, most):
        yield _step_batch(part, chat.pad_id, len(samples)).to(device)


def _rendered(sample: Sample, chat: Renderer, limit: int | None) -> Rendered:
    rendered = chat.with_answer(sample.prompt, sample.answer, learn_end=False)
    if limit is None:
        return rendered
    return rendered._replace(answer_end=min(rendered.answer_end, rendered.prompt_length + limit))


def _parts(rows: Sequence[_Row], max_tokens: int) -> Iterator[Sequence[_Row]]:
    """Cut rows, sorted by length, so that padding stays small and batches fit and are alike."""
    total = sum(row.rendered.answer_end for row in rows)
    share = total / math.ceil(total / max_tokens)
    start, tokens = 0, 0
    for end, row in enumerate(rows):
        length = row.rendered.answer_end
        padded = length * (end - start + 1)
        wasteful = tokens >= WORTH and padded > PADDING * (tokens + length)
        if end > start and (wasteful or tokens >= share or padded > max_tokens):
            yield rows[start:end]
            start, tokens = end, 0
        tokens += length
    yield rows[start:]


def _step_batch(unordered: Sequence[_Row], pad_id: int, count: int) -> StepBatch:
    """Make a batch of some rows of `count` tasks."""
    rows = sorted(unordered, key=lambda row: row.task)
    batch = make_batch([row.rendered for row in rows], pad_id)
    tasks = torch.tensor([row.task for row in rows])
    learn = torch.tensor([row.sample.kind == "learn" for row in rows])[batch.rows]
    weight = torch.tensor([row.weight for row in rows])
    keep = [row.rendered for row in rows if row.sample.kind == "keep"]
    return StepBatch(
        batch,
        *_groups(tasks, count),
        tasks[batch.rows],
        weight[batch.rows],
        learn.nonzero()[:, 0],
        (~learn).nonzero()[:, 0],
        make_batch(keep, pad_id) if keep else None,
    )


def _groups(tasks: Tensor, count: int) -> tuple[Tensor | None, int]:
    """The largest groups of equally many rows, for rows of tasks that lie in order."""
    present, rows = tasks.unique_consecutive(return_counts=True)
    each = math.gcd(*rows.tolist())
    groups = tasks[::each]
    return (None if len(groups) == len(present) == count else groups), each
