"""One layout for every family: Llama's names and orientations, norms as what they multiply with.

Takes a state by its model's names, gives float64 weights by plain names, and the way back. Linears
are `[out, in]`; a norm's weight is what it multiplies with (Gemma's 1 + weight is added up). A tied
head is left out. Knows no symmetry.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffspeak.errors import UsageError
from diffspeak.symmetries.architecture import Traits

Weights = dict[str, Tensor]
"""Plain name to float64 tensor."""

EMBEDDING, POSITIONS, HEAD, FINAL = "embed_tokens", "positions", "lm_head", "norm"

_GPT2 = {
    "wte": EMBEDDING,
    "wpe": POSITIONS,
    "ln_f": FINAL,
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
    "attn.c_proj": "self_attn.o_proj",
    "mlp.c_fc": "mlp.up_proj",
    "mlp.c_proj": "mlp.down_proj",
}
_FUSED = "attn.c_attn"
_SPLIT = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")


@dataclass(frozen=True)
class Part:
    """Where one tensor of a state goes.

    Attributes:
        names: Plain names: several where a family fuses linears.
        transposed: Whether the state keeps it `[in, out]`.
        offset: What is added to get what a norm multiplies with.
    """

    names: tuple[str, ...]
    transposed: bool = False
    offset: float = 0.0


def block(layer: int) -> str:
    """How plain names of a block begin."""
    return f"layers.{layer}."


def norms(weights: Weights, traits: Traits) -> Iterator[tuple[str, list[str]]]:
    """Each norm that linears follow at once, with the names of those linears."""
    for layer in range(traits.layers):
        start = block(layer)
        yield start + "input_layernorm", [start + name for name in _SPLIT]
        mlp = ["gate_proj", "up_proj"] if traits.gated else ["up_proj"]
        yield start + traits.mlp_norm, [f"{start}mlp.{name}" for name in mlp]
    if HEAD + ".weight" in weights:
        yield FINAL, [HEAD]


def read(state: Mapping[str, Tensor], traits: Traits) -> Weights:
    """Bring a state into the plain layout.

    Raises:
        UsageError: It has a tensor that no rule covers, or lacks one.
    """
    weights: Weights = {}
    for name, tensor in state.items():
        part = part_of(name, traits)
        plain = tensor.detach().cpu().double() + part.offset
        plain = plain.T if part.transposed and plain.dim() == 2 else plain
        pieces = plain.chunk(len(part.names))
        weights.update((n, p.clone()) for n, p in zip(part.names, pieces, strict=True))
    _check(weights, traits)
    head, embedding = weights.get(HEAD + ".weight"), weights[EMBEDDING + ".weight"]
    if traits.tied and head is not None and torch.equal(head, embedding):
        del weights[HEAD + ".weight"]
    return weights


def write(weights: Weights, state: Mapping[str, Tensor], traits: Traits) -> dict[str, Tensor]:
    """Bring weights back into a state's names, orientations and dtypes.

    Args:
        weights: As of `read`.
        state: Where they came from. A head that was untied since is written under its own name.
        traits: The architecture's.
    """
    written = {}
    for name, tensor in state.items():
        part = part_of(name, traits)
        # A tied head is the embedding.
        tied = name == HEAD + ".weight" and name not in weights
        known = (EMBEDDING + ".weight",) if tied else part.names
        plain = torch.cat([weights[n] for n in known])
        plain = plain.T if part.transposed and plain.dim() == 2 else plain
        written[name] = (plain - part.offset).to(tensor.dtype).contiguous()
    if HEAD + ".weight" in weights and "lm_head.weight" not in written:
        dtype = next(iter(state.values())).dtype
        written["lm_head.weight"] = weights[HEAD + ".weight"].to(dtype)
    return written


def dtypes_of(state: Mapping[str, Tensor], traits: Traits) -> dict[str, torch.dtype]:
    """In which dtype a state holds each plain tensor."""
    return {
        plain: tensor.dtype
        for name, tensor in state.items()
        for plain in part_of(name, traits).names
    }


def part_of(name: str, traits: Traits) -> Part:
    """Say where a tensor of a state goes.

    Raises:
        UsageError: No rule covers it.
    """
    module, _, kind = name.rpartition(".")
    module = module.removeprefix("transformer.").removeprefix("model.")
    if traits.family == "gpt2":
        return _of_gpt2(module, kind)
    last = module.rpartition(".")[2]
    is_norm = last == FINAL or last.endswith("norm")
    offset = 1.0 if is_norm and traits.gain_plus_one else 0.0
    return Part((f"{module}.{kind}",), offset=offset)


def _of_gpt2(module: str, kind: str) -> Part:
    start = ""
    if module.startswith("h."):
        _, layer, module = module.split(".", 2)
        start = block(int(layer))
    if module == _FUSED:
        return Part(tuple(f"{start}{n}.{kind}" for n in _SPLIT), transposed=True)
    plain = _GPT2.get(module, module)
    return Part((f"{start}{plain}.{kind}",), transposed="." in module)


def _check(weights: Weights, traits: Traits) -> None:
    expected = {EMBEDDING, FINAL, *(name for name, _ in norms(weights, traits))}
    for layer in range(traits.layers):
        names = [*_SPLIT, "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"]
        expected.update(block(layer) + name for name in names)
    lacking = sorted(name for name in expected if f"{name}.weight" not in weights)
    if lacking:
        raise UsageError(f"the state lacks {lacking[0]}.weight: give all parameters of the model")
