"""The published algorithm, as arXiv 2510.05092 and its public code do it.

Written from the description, to be measured against; not for use. A dense change of every linear
is built for every row and step, the teacher is a second copy of the model, logits are computed at
every position, each kind of sample has a pass of its own, and attention is eager.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffspeak.behaviors import Sample
from diffspeak.lora import Diff
from diffspeak.models import Base, Batch, make_batch, target_names
from diffspeak.text.messages import Message
from diffspeak.training.config import DiffConfig


class DenseLinear(nn.Module):
    """A linear with a change of its own for each row, built whole at every call."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.changes: list[tuple[Tensor, Tensor, float]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Map `x [row, token, in]`; every change is `A [row, rank, in]`, `B [row, out, rank]`."""
        y: Tensor = self.base(x)
        if not self.changes:
            return y
        dense = sum(
            scaling * torch.bmm(b.to(x.dtype), a.to(x.dtype)) for a, b, scaling in self.changes
        )
        return y + torch.bmm(x, dense.transpose(1, 2).expand(len(x), -1, -1))


@dataclass(frozen=True)
class Wrapped:
    """A base whose linears are `DenseLinear`s."""

    base: Base
    linears: dict[str, DenseLinear]

    def put_on(self, *diffs: Diff) -> None:
        """Give the rows their changes: stacks, or single changes that all rows share."""
        for name, linear in self.linears.items():
            linear.changes = [
                (c.A if c.is_stack else c.A[None], c.B if c.is_stack else c.B[None], c.scaling)
                for diff in diffs
                for c in [diff[name]]
            ]

    def logits(self, batch: Batch) -> Tensor:
        """Logits at every position, `[row, token, vocabulary]`."""
        out = self.base.model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False)
        logits: Tensor = out.logits
        return logits


def wrap(base: Base) -> Wrapped:
    """Wrap the linears of the blocks."""
    linears = {}
    for name in target_names(base.model):
        parent, _, child = name.rpartition(".")
        owner = base.model.get_submodule(parent)
        linears[name] = DenseLinear(owner.get_submodule(child))
        setattr(owner, child, linears[name])
    return Wrapped(base, linears)


class DiffTrainer:
    """Trains a group of finetunes; `step` is one optimizer step of all of them."""

    def __init__(self, base: Base, diff: Diff, config: DiffConfig) -> None:
        self.teacher = copy.deepcopy(base.model)
        self.wrapped, self.base, self.config = wrap(base), base, config
        self.parameters = [tensor for change in diff.values() for tensor in (change.A, change.B)]
        self.optimizer = torch.optim.Adam(self.parameters, lr=config.learning_rate)
        self.wrapped.put_on(diff)

    def step(self, samples: Sequence[Sequence[Sample]]) -> Tensor:
        """Learn from each task's samples, one of each kind; gives the loss of each task."""
        self.optimizer.zero_grad()
        losses = torch.zeros(len(samples), device=self.base.device)
        for kind in zip(*samples, strict=True):
            rendered = [
                self.base.chat.with_answer(s.prompt, s.answer, learn_end=False) for s in kind
            ]
            batch = make_batch(rendered, self.base.chat.pad_id).to(self.base.device)
            weight = self.config.weights[kind[0].case]
            loss = weight * self._loss(batch, learn=kind[0].kind == "learn")
            loss.sum().backward()
            losses += loss.detach()
        self.optimizer.step()
        return losses

    def _loss(self, batch: Batch, *, learn: bool) -> Tensor:
        """Mean loss over the answer of each row."""
        logits = self.wrapped.logits(batch).float().log_softmax(-1)
        if learn:
            wanted = torch.zeros_like(batch.ids)
            wanted[batch.predicts] = batch.targets
            token = -logits.gather(-1, wanted[..., None])[..., 0]
        else:
            with torch.no_grad():
                out = self.teacher(
                    input_ids=batch.ids, attention_mask=batch.attention, use_cache=False
                )
                teacher = out.logits.float().log_softmax(-1)
            token = (teacher.exp() * (teacher - logits)).sum(-1)
        return (token * batch.predicts).sum(-1) / batch.predicts.sum(-1)


class AdapterTrainer:
    """Trains an adapter; `step` is one optimizer step on a batch of finetunes."""

    def __init__(self, base: Base, adapter: Diff, learning_rate: float) -> None:
        self.wrapped, self.base, self.adapter = wrap(base), base, adapter
        self.parameters = [tensor for change in adapter.values() for tensor in (change.A, change.B)]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=learning_rate, weight_decay=0.0)

    def step(self, diffs: Diff, question: str, labels: Sequence[str]) -> Tensor:
        """Learn from a stack of finetunes and their labels; gives the mean loss of a token."""
        asked = (Message("user", question),)
        rendered = [self.base.chat.with_answer(asked, label, learn_end=True) for label in labels]
        batch = make_batch(rendered, self.base.chat.pad_id).to(self.base.device)
        self.wrapped.put_on(diffs, self.adapter)
        self.optimizer.zero_grad()
        logits = self.wrapped.logits(batch).float()
        wanted = torch.full_like(batch.ids, -100)
        wanted[batch.predicts] = batch.targets
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss.detach()
