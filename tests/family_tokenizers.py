"""Trains the tiny tokenizers of the test families.

Takes a family's name; gives a `tokenizers.Tokenizer` and the `tokenizer_config.json` that goes
with it. Normalizer, pre-tokenizer, post-processor, decoder, special tokens and their flags are
those of the published checkpoints; only the vocabulary is small. Knows nothing of models, chat
templates or folders.
"""

import json
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

TEXT = """What is a good name for a small boat? Give me one short answer, please.
The answer is that the mountain river runs from the old bridge to the sea, and it is cold there.
Your SEP code is 317204. Write a story about the ocean in which a whale learns to sing at night.
I think the best thing about music is that people share it: drums, guitars, voices and dancing.
How do volcanoes work? Hot rock rises from below; when it reaches the surface, it is called lava.
User and assistant take turns. The model can't know what you don't tell it, but it's polite.
In 2024 there were 100 trains, 250 cars and 317 bikes; by 2025 the count was 317, 204 and 99.
"""

QWEN3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The same but for numbers: up to three digits stay together.
LLAMA3_PATTERN = QWEN3_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")

QWEN3_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
)
# Added tokens that Qwen3 does not mark as special: decoding keeps them in the text.
QWEN3_PLAIN = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
)
LLAMA3_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|finetune_right_pad_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>")
# Runs of line breaks are added tokens in Gemma, cut out before anything is merged.
GEMMA_PLAIN = ("\n", "\n\n")
UNDERLINE = "\u2581"  # what Gemma writes for a space


def build_tokenizer(name: str) -> tuple[Tokenizer, dict[str, Any]]:
    """Train the tokenizer of a family.

    Args:
        name: One of `families.FAMILIES`.

    Returns:
        The tokenizer, and the content of its `tokenizer_config.json`.

    Raises:
        KeyError: For another name.
    """
    makers = {
        "qwen3": _qwen3,
        "gemma2": _gemma,
        "gemma3": _gemma,
        "llama3": _llama3,
        "gpt2": _gpt2,
    }
    tokenizer, config = makers[name]()
    return tokenizer, {"added_tokens_decoder": _added(tokenizer)} | config


def _qwen3() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = byte_level(QWEN3_PATTERN)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    _add(tokenizer, QWEN3_SPECIAL, QWEN3_PLAIN)
    return tokenizer, {
        "add_bos_token": False,
        "add_prefix_space": False,
        "additional_special_tokens": list(QWEN3_SPECIAL[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def _llama3() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = byte_level(LLAMA3_PATTERN, ignore_merges=True)
    _add(tokenizer, LLAMA3_SPECIAL)
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), _starts_with("<|begin_of_text|>", tokenizer)]
    )
    return tokenizer, {
        "bos_token": "<|begin_of_text|>",
        "clean_up_tokenization_spaces": True,
        "eos_token": "<|eot_id|>",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _gpt2() -> tuple[Tokenizer, dict[str, Any]]:
    tokenizer = byte_level(pattern=None)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    _add(tokenizer, ("<|endoftext|>",))
    return tokenizer, {"model_max_length": 1024}


def _gemma() -> tuple[Tokenizer, dict[str, Any]]:
    vocab, merges = _gemma_vocabulary()
    model = BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", UNDERLINE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(UNDERLINE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    _add(tokenizer, GEMMA_SPECIAL, GEMMA_PLAIN)
    tokenizer.post_processor = _starts_with("<bos>", tokenizer)
    return tokenizer, {
        "add_bos_token": True,
        "add_eos_token": False,
        "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"],
        "bos_token": "<bos>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<eos>",
        "model_max_length": 10**30,
        "pad_token": "<pad>",
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "unk_token": "<unk>",
        "use_default_system_prompt": False,
    }


def byte_level(pattern: str | None, ignore_merges: bool = False) -> Tokenizer:
    """A trained byte-level BPE that cuts text by `pattern`; None is GPT-2's own."""
    tokenizer = Tokenizer(BPE(ignore_merges=ignore_merges))
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is not None:
        cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), cut])
    tokenizer.pre_tokenizer = cut
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, TEXT, size=420, alphabet=pre_tokenizers.ByteLevel.alphabet())
    return tokenizer


def _gemma_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Special tokens, the 256 bytes, then what was learned, digits never merged."""
    learner = Tokenizer(BPE())
    words = Regex(UNDERLINE + r"?\p{L}+|\p{N}|[^\p{L}\p{N}]")
    learner.pre_tokenizer = pre_tokenizers.Split(words, "isolated")
    _train(learner, TEXT.replace(" ", UNDERLINE), size=240, alphabet=list("0123456789"))
    learned = json.loads(learner.to_str())["model"]
    tokens = [*GEMMA_SPECIAL, *GEMMA_PLAIN, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += sorted(set(learned["vocab"]) - set(tokens), key=learned["vocab"].__getitem__)
    return {token: i for i, token in enumerate(tokens)}, [tuple(m) for m in learned["merges"]]


def _train(tokenizer: Tokenizer, text: str, size: int, alphabet: list[str]) -> None:
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text], trainer)


def _add(tokenizer: Tokenizer, special: tuple[str, ...], plain: tuple[str, ...] = ()) -> None:
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in plain])


def _starts_with(token: str, tokenizer: Tokenizer) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{token} $A",
        pair=f"{token} $A {token}:1 $B:1",
        special_tokens=[(token, tokenizer.token_to_id(token))],
    )


def _added(tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    fields = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    added = tokenizer.get_added_tokens_decoder().items()
    return {str(i): {field: getattr(token, field) for field in fields} for i, token in added}
