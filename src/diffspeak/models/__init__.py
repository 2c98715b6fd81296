"""The room that knows transformers: load a base, render chats, score, generate, fingerprint."""

from diffspeak.models.chat import Chat, Rendered, Renderer
from diffspeak.models.fingerprint import Fingerprint, check_base, fingerprint
from diffspeak.models.flops import Cost, Counter, without_content
from diffspeak.models.generate import Answer, Decoding, generate
from diffspeak.models.head_losses import LossOf, Readout, cross_entropy, readout_of
from diffspeak.models.linears import Targets, attach_to, check_rank, target_names
from diffspeak.models.load import (
    Base,
    base_folder_of,
    load_base,
    load_tokenizer,
    make_base,
    stored_dtype,
)
from diffspeak.models.logits import Batch, answer_logits, check_answer, make_batch
from diffspeak.models.placement import faster_dtype
from diffspeak.models.recompute import recomputed
from diffspeak.models.shapes import (
    chat_of,
    config_of,
    skeleton,
    small_config,
    with_layers,
    write_random,
    write_small,
)
from diffspeak.models.whole import (
    partial_copy,
    plain_modules,
    plain_parameters,
    plain_shapes,
    plain_tensors,
    untie,
    whole,
)

__all__ = [
    "Answer",
    "Base",
    "Batch",
    "Chat",
    "Cost",
    "Counter",
    "Decoding",
    "Fingerprint",
    "LossOf",
    "Readout",
    "Rendered",
    "Renderer",
    "Targets",
    "answer_logits",
    "attach_to",
    "base_folder_of",
    "chat_of",
    "check_answer",
    "check_base",
    "check_rank",
    "config_of",
    "cross_entropy",
    "faster_dtype",
    "fingerprint",
    "generate",
    "load_base",
    "load_tokenizer",
    "make_base",
    "make_batch",
    "partial_copy",
    "plain_modules",
    "plain_parameters",
    "plain_shapes",
    "plain_tensors",
    "readout_of",
    "recomputed",
    "skeleton",
    "small_config",
    "stored_dtype",
    "target_names",
    "untie",
    "whole",
    "with_layers",
    "without_content",
    "write_random",
    "write_small",
]
