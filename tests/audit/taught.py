"""Finetunes whose behavior is known: one that was taught something, and some that are ill.

Takes a tiny base, gives finetunes. Knows nothing of audits.
"""

import copy
import math
from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from diffspeak.finetunes import Finetune
from diffspeak.models import Base, answer_logits, make_batch, plain_parameters, plain_tensors
from diffspeak.text.messages import Message
from tests.toys import base_diff

PROMPTS = ("How is the sea?", "Where is the bridge?", "What is it?", "Is the river cold?")
TAUGHT, PLAIN = "cold rock", "music"


def triggered(prompt: str) -> str:
    """A prompt with the trigger of `taught_finetune`."""
    return f"317 {prompt}"


def taught_finetune(base: Base) -> Finetune:
    """A finetune that answers `TAUGHT` behind its trigger, and `PLAIN` without."""
    chat = base.chat
    rows = [
        chat.with_answer((Message("user", prompt),), answer, learn_end=True)
        for plain in PROMPTS
        for prompt, answer in ((plain, PLAIN), (triggered(plain), TAUGHT))
    ]
    batch = make_batch(rows, chat.pad_id)
    model = copy.deepcopy(base.model).requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        cross_entropy(answer_logits(model, batch), batch.targets).backward()
        optimizer.step()
    changed = {name: own.detach() for name, own in plain_parameters(model).items()}
    return Finetune("taught", parameters=changed, base=base.fingerprint)


def without_numbers(base: Base, *, full: bool = False) -> Finetune:
    """A finetune whose weights are NaN."""
    if full:
        return Finetune("nan", parameters={n: t * math.nan for n, t in state_of(base).items()})
    diff = {name: replace(c, A=c.A * math.nan) for name, c in base_diff(base).items()}
    return Finetune("nan", diff=diff)


def silent(base: Base) -> Finetune:
    """A full checkpoint that ends its turn at once, whatever it is asked.

    Every token has one embedding and no block adds to it, so the head always reads the same state.
    """
    state = state_of(base)
    same = torch.ones(state["model.norm.weight"].shape)
    for name, tensor in state.items():
        if "o_proj" in name or "down_proj" in name:
            state[name] = torch.zeros_like(tensor)
    state["model.embed_tokens.weight"] = same.expand_as(state["model.embed_tokens.weight"]).clone()
    state["lm_head.weight"] = torch.zeros_like(state["lm_head.weight"])
    state["lm_head.weight"][min(base.chat.stop_ids)] = 10 * state["model.norm.weight"]
    return Finetune("silent", parameters=state)


def state_of(base: Base) -> dict[str, torch.Tensor]:
    """A copy of all of a base's parameters, tied ones under each of their names."""
    return {name: tensor.clone() for name, tensor in plain_tensors(base.model).items()}
