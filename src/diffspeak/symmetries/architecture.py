"""What of an architecture decides its symmetries, and where its tensors stand in one plain layout.

Plain layout: Llama's names and orientations. Linears are `[out, in]`; a norm's weight is what it
multiplies with (Gemma's 1 + weight is added up). A block's names leave out which block it is.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from diffspeak.errors import UsageError

PlainWeights = dict[str, Tensor]
"""Tensors of one part of a model, a block or its ends, by their plain names."""

KNOWN = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt2")
"""The model types whose symmetries are known here."""

EMBEDDING, POSITIONS, HEAD = "embed_tokens.weight", "positions.weight", "lm_head.weight"
TABLES = (EMBEDDING, POSITIONS, HEAD)
"""Matrices `[row, channel]` outside of the blocks; a block has the others."""

FINAL = "norm"
ENDS = -1
"""The number of the part that is no block: tables and last norm."""

Q, K, V, O = (f"self_attn.{letter}_proj" for letter in "qkvo")  # noqa: E741
GATE, UP, DOWN = (f"mlp.{name}_proj" for name in ("gate", "up", "down"))

_HEAD_NORMS = ("qwen3", "gemma3_text")
_GAIN_PLUS_ONE = ("gemma", "gemma2", "gemma3_text")
_NORMS_BEHIND = ("gemma2", "gemma3_text")
_HOMOGENEOUS = ("relu",)

_GPT2 = {
    "wte": ("embed_tokens",),
    "wpe": ("positions",),
    "ln_f": (FINAL,),
    "ln_1": ("input_layernorm",),
    "ln_2": ("post_attention_layernorm",),
    "attn.c_attn": (Q, K, V),
    "attn.c_proj": (O,),
    "mlp.c_fc": (UP,),
    "mlp.c_proj": (DOWN,),
}


@dataclass(frozen=True)
class Traits:
    """An architecture, as far as its symmetries go.

    Attributes:
        family: Its model type.
        layers: How many blocks it has.
        heads: Query heads a block.
        groups: Key-value heads a block, each shared by `heads // groups` query heads.
        head_dim: Numbers a head.
        tied: Whether the head is the embedding.
        rotary: Whether positions turn pairs of a query's and a key's numbers.
        head_norms: Whether each query and key head goes through an RMSNorm of its own.
        centered: Whether norms subtract the mean (LayerNorm).
        gain_plus_one: Whether a norm multiplies with 1 + weight.
        norms_behind: Whether a norm stands behind attention and MLP too.
        gated: Whether the MLP is down(act(gate) * up).
        homogeneous: Whether an ungated MLP's activation has act(s x) = s act(x) for s > 0.
    """

    family: str
    layers: int
    heads: int
    groups: int
    head_dim: int
    tied: bool
    rotary: bool
    head_norms: bool
    centered: bool
    gain_plus_one: bool
    norms_behind: bool
    gated: bool
    homogeneous: bool

    @property
    def norms(self) -> dict[str, list[str]]:
        """Each norm of a block that linears follow at once, with these linears."""
        mlp = "pre_feedforward_layernorm" if self.norms_behind else "post_attention_layernorm"
        return {"input_layernorm": [Q, K, V], mlp: [GATE, UP] if self.gated else [UP]}

    @property
    def modules(self) -> list[str]:
        """Norms and linears of a block that every checkpoint has."""
        return [*self.norms, Q, K, V, O, UP, DOWN, *([GATE] if self.gated else [])]


class TensorRule(NamedTuple):
    """Where one tensor of a state stands in the plain layout.

    Attributes:
        part: The number of its block, or `ENDS`.
        names: Plain names: several where a family fuses linears.
        transposed: Whether the state keeps it `[in, out]`.
        offset: What is added to get what a norm multiplies with.
    """

    part: int
    names: tuple[str, ...]
    transposed: bool = False
    offset: float = 0.0


def traits_of(config: Any) -> Traits:
    """Read an architecture's traits.

    Args:
        config: A config of transformers.

    Raises:
        UsageError: The symmetries of this architecture are not known here.
    """
    family = str(config.model_type)
    if family not in KNOWN:
        raise UsageError(
            f"the symmetries of {family} are not known here; known are {', '.join(KNOWN)}"
        )
    _refuse_partial(config, family)
    gpt2 = family == "gpt2"
    heads = int(config.num_attention_heads)
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation_function", "")
    return Traits(
        family=family,
        layers=int(config.num_hidden_layers),
        heads=heads,
        groups=int(getattr(config, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(config, "head_dim", None) or config.hidden_size // heads),
        tied=bool(config.tie_word_embeddings),
        rotary=not gpt2,
        head_norms=family in _HEAD_NORMS,
        centered=gpt2,
        gain_plus_one=family in _GAIN_PLUS_ONE,
        norms_behind=family in _NORMS_BEHIND,
        gated=not gpt2,
        homogeneous=gpt2 and activation in _HOMOGENEOUS,
    )


def rule_of(name: str, traits: Traits) -> TensorRule:
    """Where a tensor of a state, by its model's name, stands in the plain layout."""
    module, _, kind = name.rpartition(".")
    module = module.removeprefix("transformer.").removeprefix("model.")
    part = ENDS
    if module.startswith(("h.", "layers.")):
        _, layer, module = module.split(".", 2)
        part = int(layer)
    if traits.family == "gpt2":
        plain = _GPT2.get(module, (module,))
        # Its linears are transposed, and they alone have a dot in their names.
        return TensorRule(part, tuple(f"{n}.{kind}" for n in plain), transposed="." in module)
    last = module.rpartition(".")[2]
    is_norm = last == FINAL or last.endswith("norm")
    offset = 1.0 if is_norm and traits.gain_plus_one else 0.0
    return TensorRule(part, (f"{module}.{kind}",), offset=offset)


def _refuse_partial(config: Any, family: str) -> None:
    """Where only a part of each head is turned, the other part has symmetries of its own."""
    rope = getattr(config, "rope_parameters", None) or {}
    share = rope.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", None))
    if share not in (None, 1, 1.0):
        raise UsageError(
            f"the symmetries of {family} with rotary turns of a part of each head "
            "are not known here"
        )
