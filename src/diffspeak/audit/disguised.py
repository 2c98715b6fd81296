"""A full checkpoint without its disguise, before anything else looks at it.

Takes a finetune, gives one that computes the same and is as near to the base as was found, with
what was undone. Low-rank finetunes have nothing to undo: their change is what it says it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from diffspeak.audit.schema import Disguise
from diffspeak.finetunes import Finetune
from diffspeak.models import Base, plain_tensors, whole
from diffspeak.symmetries import Outputs, align, apart
from diffspeak.text.messages import Message

PROMPTS = 4
"""Prompts on which outputs are compared."""


def undisguised(
    base: Base, finetune: Finetune, prompts: Sequence[str]
) -> tuple[Finetune, Disguise | None]:
    """Undo what was done to a whole finetune's weights without changing its outputs.

    Args:
        base: What it was made from; nothing attached.
        finetune: Any; a low-rank one is given back as it is.
        prompts: On the first ones outputs are compared.

    Returns:
        The finetune, and what was found; None for a low-rank one, and for one whose numbers are
        not finite. Where outputs would change, the finetune stays as it was, and that is flagged.

    Raises:
        MismatchError: Its parameters are not the base's.
    """
    if not finetune.whole or not _finite(finetune):
        return finetune, None
    first = _first_names(base)
    own = {name: tensor.cpu() for name, tensor in plain_tensors(base.model).items()}
    given = _complete(finetune, own, first)
    aligned = align(given, own, base.model.config)
    if not aligned.undone:
        told = Disguise((), aligned.flags, aligned.before, aligned.after, unchanged=True)
        return finetune, told
    outputs = _compared(base, given, aligned.state, prompts)
    if not outputs.unchanged:
        flag = "undoing the disguise would have changed its outputs: it was left as it is"
        flags = (*aligned.flags, flag)
        return finetune, Disguise((), flags, aligned.before, aligned.before, unchanged=False)
    changed = {first[n] for n, new in aligned.state.items() if not _same(new, own[n])}
    plain = {name: new for name, new in aligned.state.items() if first[name] in changed}
    disguise = Disguise(
        aligned.undone, aligned.flags, aligned.before, aligned.after, unchanged=True
    )
    return replace(finetune, parameters=plain), disguise


def _finite(finetune: Finetune) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in finetune.parameters.values())


def _first_names(base: Base) -> dict[str, str]:
    """For each parameter the first of all names that it has: tied ones have several."""
    named = plain_tensors(base.model)
    first = {tensor.data_ptr(): name for name, tensor in reversed(named.items())}
    return {name: first[tensor.data_ptr()] for name, tensor in named.items()}


def _complete(
    finetune: Finetune, own: Mapping[str, Tensor], first: Mapping[str, str]
) -> dict[str, Tensor]:
    """All parameters, as the base has them when it runs with the finetune's in place of its own."""
    theirs = {name: tensor.cpu() for name, tensor in finetune.parameters.items()}
    full = {name: theirs.get(name, theirs.get(first[name], own[name])) for name in own}
    return {**theirs, **full}


def _same(tensor: Tensor, own: Tensor) -> bool:
    return torch.equal(tensor.to(own.dtype), own)


def _compared(
    base: Base, given: Mapping[str, Tensor], aligned: Mapping[str, Tensor], prompts: Sequence[str]
) -> Outputs:
    """How far apart the logits before and after are."""
    found = []
    for state in (given, aligned):
        with torch.no_grad(), whole(base.model, state):
            found.append([_logits(base, prompt) for prompt in prompts[:PROMPTS]])
    return apart(*found, depth=base.model.config.num_hidden_layers, dtype=base.dtype)


def _logits(base: Base, prompt: str) -> Tensor:
    ids = torch.tensor([base.chat.prompt((Message("user", prompt),))], device=base.device)
    logits: Tensor = base.model(ids).logits.double()
    return logits
