"""Train one finetune with all its parameters, or all its linears: no low-rank factors.

Takes a base and one item, gives the trained parameters. The base's own weights stay untouched
and are the KL teacher; the trained ones are float32 and run in the base's dtype.
"""

import torch
from torch import Tensor
from torch.func import functional_call

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.models import Base, Readout, target_names
from diffspeak.training.batches import StepBatch
from diffspeak.training.descent import Descent, OnStep, descend
from diffspeak.training.diff_config import DiffConfig


def train_full(
    base: Base,
    behavior: Behavior,
    item: FinetuneSpec,
    config: DiffConfig,
    on_step: OnStep | None = None,
) -> tuple[dict[str, Tensor], Descent]:
    """Train one finetune whole.

    Returns:
        The trained parameters in the base's dtype on the CPU, by name, and how it went. Nothing
        may be attached to the base meanwhile.
    """
    own = dict(base.model.named_parameters())
    names = _trained_names(base, config)
    masters = {name: own[name].detach().float().clone().requires_grad_() for name in names}

    # The head may be trained too: it is called with the parameters of the step, by the model.
    readout = Readout(base.model, in_parts=False)

    def states(step: StepBatch) -> tuple[Tensor, Tensor | None]:
        cast = {name: master.to(own[name].dtype) for name, master in masters.items()}
        student = readout.states(
            step.batch, lambda **inputs: functional_call(base.model, cast, (), inputs)
        )
        with torch.no_grad():
            return student, None if step.keep is None else readout.states(step.keep)

    descent = descend(
        base, behavior, [item], config, list(masters.values()), readout, states, on_step=on_step
    )
    trained = {name: master.detach().to(own[name].dtype).cpu() for name, master in masters.items()}
    if descent.failed_at[0] is None and not all(t.isfinite().all() for t in trained.values()):
        descent = Descent(descent.losses, [config.steps - 1])
    return trained, descent


def _trained_names(base: Base, config: DiffConfig) -> list[str]:
    """Parameters to train: all of them, or the weights of the target linears."""
    names = [name for name, _ in base.model.named_parameters()]
    if config.parameters == "all":
        return names
    targets = set(target_names(base.model, config.targets))
    return [name for name in names if name.removesuffix(".weight") in targets]
