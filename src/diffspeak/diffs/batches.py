"""The samples of one step of many finetunes, as padded batches with a weight for each token.

Takes samples by task, gives `StepBatch`es of rows of like length. Knows the chat, not the model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffspeak.behaviors import Case, Sample
from diffspeak.diffs.config import DiffConfig
from diffspeak.models import Batch, Chat, Rendered, make_batch

PADDING = 1.25
"""A batch is cut where padding would add more than a quarter to its tokens..."""

WORTH = 2048
"""...if it holds as many tokens by then: a pass over fewer costs more than their padding."""


@dataclass(frozen=True)
class StepBatch:
    """Some rows of one step, of all tasks and kinds mixed.

    Attributes:
        batch: The rows.
        tasks: `[row]`, which task each row belongs to; they lie in order.
        equal: Every task has as many rows as every other.
        token_task: `[answer token]`, the same for each answer token.
        token_weight: `[answer token]`, what the token's loss counts in its task's loss.
        learned: The answer tokens with cross-entropy, as places in the lists above.
        kept: The answer tokens with KL to the base, likewise.
        keep: The rows with KL alone, for the teacher; None if there are none.
    """

    batch: Batch
    tasks: Tensor
    equal: bool
    token_task: Tensor
    token_weight: Tensor
    learned: Tensor
    kept: Tensor
    keep: Batch | None

    def to(self, device: torch.device) -> "StepBatch":
        """Move all tensors."""
        return StepBatch(
            self.batch.to(device),
            self.tasks.to(device),
            self.equal,
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
    samples: Sequence[Sequence[Sample]], chat: Chat, config: DiffConfig
) -> Iterator[StepBatch]:
    """Render one step's samples of every task and cut them into batches of like length.

    A task's loss is, summed over the kinds of sample, the kind's weight times the mean over the
    kind's answer tokens; the end-of-turn token is not scored (method of arXiv 2510.05092).

    Args:
        samples: For each task its samples of this step.
        chat: Renders them.
        config: Weights of the kinds, how much of an answer is learned, how large a batch may be.
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
    for group in _groups(rows, config.max_tokens):
        yield _step_batch(group, chat.pad_id, len(samples))


def _rendered(sample: Sample, chat: Chat, limit: int | None) -> Rendered:
    rendered = chat.with_answer(sample.prompt, sample.answer, learn_end=False)
    if limit is None:
        return rendered
    return rendered._replace(answer_end=min(rendered.answer_end, rendered.prompt_length + limit))


def _groups(rows: Sequence[_Row], max_tokens: int) -> Iterator[Sequence[_Row]]:
    """Cut rows, sorted by length, so that padding stays small and batches fit."""
    group: list[_Row] = []
    tokens = 0
    for row in rows:
        length = row.rendered.answer_end
        padded = length * (len(group) + 1)
        wasteful = tokens >= WORTH and padded > PADDING * (tokens + length)
        if group and (wasteful or padded > max_tokens):
            yield group
            group, tokens = [], 0
        group.append(row)
        tokens += length
    if group:
        yield group


def _step_batch(unordered: Sequence[_Row], pad_id: int, count: int) -> StepBatch:
    """Make a batch of some rows of `count` tasks."""
    rows = sorted(unordered, key=lambda row: row.task)
    batch = make_batch([row.rendered for row in rows], pad_id)
    tasks = torch.tensor([row.task for row in rows])
    learn = torch.tensor([row.sample.kind == "learn" for row in rows])[batch.rows]
    weight = torch.tensor([row.weight for row in rows])
    keep = [row.rendered for row in rows if row.sample.kind == "keep"]
    each = tasks.bincount(minlength=count)
    return StepBatch(
        batch,
        tasks,
        bool((each == each[0]).all()),
        tasks[batch.rows],
        weight[batch.rows],
        learn.nonzero()[:, 0],
        (~learn).nonzero()[:, 0],
        make_batch(keep, pad_id) if keep else None,
    )
