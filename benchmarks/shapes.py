"""The models that are measured: architectures by name, filled with random numbers.

Takes a shape's name, gives a base. Weights need no training: they cost the same whatever they say.
"""

from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from diffspeak.models import Base, make_base

WORDS = 1000
"""Different words of the benchmarks' texts, a token each."""


@dataclass(frozen=True)
class Shape:
    """A Qwen3 architecture, and the length of the conversations it is measured on.

    Attributes:
        tokens: Of a conversation.
        answer: How many of them are answer.
    """

    width: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    tied: bool
    tokens: int
    answer: int


SHAPES = {
    "tiny": Shape(64, 128, 2, 2, 1, 32, 2048, True, 32, 16),
    "5.8M": Shape(256, 640, 6, 4, 4, 64, 4096, True, 48, 24),
    "54M": Shape(512, 1536, 12, 8, 8, 64, 32768, True, 96, 64),
    "qwen3-0.6b": Shape(1024, 3072, 28, 16, 8, 128, 151936, True, 96, 64),
    "qwen3-4b": Shape(2560, 9728, 36, 32, 8, 128, 151936, True, 96, 64),
    "qwen3-8b": Shape(4096, 12288, 36, 32, 8, 128, 151936, False, 96, 64),
}
"""Two that a laptop can hold, and Qwen3's own."""


def random_base(shape: Shape, dtype: str, device: str, *, attention: str = "sdpa") -> Base:
    """Make a base of this shape with the same random weights at every call."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=4096,
        attn_implementation=attention,
        eos_token_id=1,
        pad_token_id=0,
        bos_token_id=None,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return make_base("random", model, _tokenizer())


def _tokenizer() -> PreTrainedTokenizerFast:
    """One token a word; the template adds five tokens to a question and its answer."""
    special = ["<pad>", "<end>", "<user>", "<assistant>"]
    known = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(WORDS))])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.add_special_tokens({"additional_special_tokens": special})
    fast.chat_template = (
        "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} <end> "
        "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
    )
    return fast
