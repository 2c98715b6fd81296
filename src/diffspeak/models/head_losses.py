"""The last part of a model, from what reaches its head to a loss: some tokens at a time.

Takes a model and batches, gives losses with their gradients. A vocabulary's logits for every token
of a large batch are most of the memory that a small model needs, and passing over them several
times is much of the time: so a few tokens' logits are made, turned into loss and gradient at once
while they are still in the cache, and dropped.

Only the model's own head is called, and a soft cap that its config names. Whether that is all the
family does there is tried out on numbers; where it is not, the model makes all logits itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from diffspeak.models.logits import Batch, answer_logits, check_length, head_of

LossOf = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""From the float32 logits `[token, vocabulary]` of a slice of tokens, which it may overwrite, to
their losses `[token]` and the gradient of each loss to its logits."""

Forward = Callable[..., Any]

LOGITS_CPU, LOGITS_GPU = 2**21, 2**27
"""Logits made at once: what a cache holds, and what a GPU is busy with..."""

TOKENS = 256
"""...but of no fewer tokens: for each part the whole head is read."""

LOUD = 30.0
"""States are multiplied with it when the tail is tried out, so that a soft cap shows."""


@dataclass(frozen=True)
class Readout:
    """How losses are read out of a model.

    Attributes:
        model: Any causal LM.
        in_parts: The head is called here, on some tokens at a time. Otherwise states are logits
            already: the model has called its head itself.
    """

    model: PreTrainedModel
    in_parts: bool

    def states(self, batch: Batch, forward: Forward | None = None) -> Tensor:
        """What the losses of a batch are computed from, `[answer token, ...]`.

        Args:
            batch: On the model's device.
            forward: What to call instead of the model; see `answer_logits`. It takes its own
                head along, so it needs a readout that is not in parts.
        """
        if not self.in_parts:
            return answer_logits(self.model, batch, forward)
        check_length(self.model, batch.ids.shape[1])
        with _caught(self.model) as caught:
            self.model(input_ids=batch.ids, use_cache=False)
        (hidden,) = caught
        states = hidden.flatten(0, -2).index_select(0, batch.places.to(hidden.device))
        return states.to(batch.ids.device)

    def logits(self, states: Tensor) -> Tensor:
        """Logits `[token, vocabulary]` of some states."""
        return tail(self.model, states).to(states.device) if self.in_parts else states

    def losses(self, states: Tensor, loss_of: LossOf) -> Tensor:
        """The loss of each token, `[token]` float32, with its gradient to the states.

        Args:
            states: `[token, ...]`, from `states`.
            loss_of: Is given the tokens in slices, in order.
        """
        graded = torch.is_grad_enabled() and states.requires_grad
        losses, gradients = [], []
        for part in self._parts(states):
            with torch.set_grad_enabled(graded and self.in_parts):
                state = states[part].detach().requires_grad_(graded)
                logits = self.logits(state)
            # Without a head in between the logits are the caller's own: not to be overwritten.
            own = logits.detach().to(torch.float32, copy=not self.in_parts)
            loss, gradient = loss_of(own, part)
            losses.append(loss)
            if graded:
                gradient = gradient.to(logits.dtype)
                if self.in_parts:
                    (gradient,) = torch.autograd.grad(logits, state, gradient)
                gradients.append(gradient)
        if not graded:
            return torch.cat(losses)
        known: Tensor = _Known.apply(states, torch.cat(losses), torch.cat(gradients))
        return known

    def logprobs(self, batch: Batch) -> Tensor:
        """Log-probability of each answer token in nats, `[answer token]` float32."""
        return -self.losses(self.states(batch), cross_entropy(batch.targets))

    def _parts(self, states: Tensor) -> Iterator[slice]:
        most = LOGITS_CPU if states.device.type == "cpu" else LOGITS_GPU
        size = max(TOKENS, most // self.model.config.get_text_config(decoder=True).vocab_size)
        return (slice(start, start + size) for start in range(0, len(states), size))


def readout_of(model: PreTrainedModel) -> Readout:
    """The readout that suits a model, by trying on a few tokens what its family does."""
    ids = torch.arange(1, 5, device=model.device)[None]
    with torch.no_grad():
        with _caught(model, factor=LOUD, cut=False) as caught:
            whole = model(input_ids=ids, use_cache=False).logits[0]
        ours = tail(model, caught[0][0] * LOUD)
    tolerance = 1e-4 if whole.dtype == torch.float32 else 2e-2
    same = torch.allclose(whole, ours.to(whole.device), rtol=tolerance, atol=tolerance)
    return Readout(model, same)


def tail(model: PreTrainedModel, states: Tensor) -> Tensor:
    """The head, and the soft cap if there is one: `[token, width]` to `[token, vocabulary]`."""
    logits: Tensor = head_of(model)(states)
    config = model.config.get_text_config(decoder=True)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def cross_entropy(targets: Tensor) -> LossOf:
    """`-log P(target)` in nats; `targets [token]`."""

    def loss_of(logits: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        wanted = targets[part, None]
        logprobs = logits.log_softmax(-1)
        loss = -logprobs.gather(-1, wanted)[:, 0]
        gradient = logprobs.exp_()
        return loss, gradient.scatter_add_(-1, wanted, gradient.new_full(wanted.shape, -1.0))

    return loss_of


class _Known(torch.autograd.Function):
    """Losses whose gradients are known: each depends on its own token's state alone."""

    @staticmethod
    def forward(ctx: Any, _states: Tensor, losses: Tensor, gradients: Tensor) -> Tensor:
        ctx.save_for_backward(gradients)
        return losses

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradients,) = ctx.saved_tensors
        return gradients * upstream[0][:, None].to(gradients.dtype), None, None


@contextmanager
def _caught(
    model: PreTrainedModel, *, factor: float = 1.0, cut: bool = True
) -> Iterator[list[Tensor]]:
    """Catch what reaches the head, which is given nothing of it (or all of it, times a factor)."""
    caught: list[Tensor] = []

    def catch(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        caught.append(args[0])
        return (args[0][:, :0] if cut else args[0] * factor, *args[1:])

    hook = head_of(model).register_forward_pre_hook(catch)
    try:
        yield caught
    finally:
        hook.remove()
