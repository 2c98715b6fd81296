"""What of an architecture decides which changes of its weights leave all outputs as they are.

Takes a config of transformers, gives its traits. Knows no tensor.
"""

from dataclasses import dataclass
from typing import Any

from diffspeak.errors import UsageError

KNOWN = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt2")
"""The model types whose symmetries are known here."""

_HEAD_NORMS = ("qwen3", "gemma3_text")
_GAIN_PLUS_ONE = ("gemma", "gemma2", "gemma3_text")
_NORMS_BEHIND = ("gemma2", "gemma3_text")
_HOMOGENEOUS = ("relu",)


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
    def mlp_norm(self) -> str:
        """What the norm before the MLP is called."""
        return "pre_feedforward_layernorm" if self.norms_behind else "post_attention_layernorm"


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
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    activation = getattr(config, "hidden_act", None) or getattr(config, "activation_function", "")
    return Traits(
        family=family,
        layers=int(config.num_hidden_layers),
        heads=heads,
        groups=int(getattr(config, "num_key_value_heads", None) or heads),
        head_dim=int(head_dim),
        tied=bool(config.tie_word_embeddings),
        rotary=not gpt2,
        head_norms=family in _HEAD_NORMS,
        centered=gpt2,
        gain_plus_one=family in _GAIN_PLUS_ONE,
        norms_behind=family in _NORMS_BEHIND,
        gated=not gpt2,
        homogeneous=gpt2 and activation in _HOMOGENEOUS,
    )


def _refuse_partial(config: Any, family: str) -> None:
    """Where only a part of each head is turned, the other part has symmetries of its own."""
    rope = getattr(config, "rope_parameters", None) or {}
    share = rope.get("partial_rotary_factor", getattr(config, "partial_rotary_factor", None))
    if share not in (None, 1, 1.0):
        raise UsageError(
            f"the symmetries of {family} with rotary turns of a part of each head "
            "are not known here"
        )
