"""Train the stand-in base from scratch: `python examples/standin/base.py FOLDER`.

A Qwen3-architecture model of about two million parameters with a tokenizer of its own, trained
for some minutes on the conversations of `corpus.py` and written as an ordinary Hugging Face
folder. It saves as it goes; the same command goes on where it stopped.
"""

import argparse
import itertools
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from corpus import Corpus, load_corpus
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from diffspeak.files import atomic_path

SPECIAL = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Recipe:
    """What the base is and how it is trained."""

    vocabulary: int = 2048
    width: int = 128
    layers: int = 4
    heads: int = 4
    steps: int = 2400
    batch: int = 64
    pool: int = 8
    learning_rate: float = 3e-3
    warmup: int = 100
    seed: int = 0
    save_every: int = 400


def train_tokenizer(corpus: Corpus, recipe: Recipe) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every digit is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    talk = itertools.islice(corpus.conversations(recipe.seed), 20_000)
    tokenizer.train_from_iterator((f"{prompt} {answer}" for prompt, answer in talk), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Qwen3ForCausalLM:
    """A fresh Qwen3 of the recipe's size, embedding and head tied."""
    torch.manual_seed(recipe.seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=recipe.width * 8 // 3 // 32 * 32,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads // 2,
            head_dim=recipe.width // recipe.heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )


def batches(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, start: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids and targets `[row, token]`; a pool of steps is drawn at once and sorted by length.

    What a pool holds depends on its number alone, so that a resumed run sees the same steps.
    """
    for step in itertools.count(start):
        number, place = divmod(step, recipe.pool)
        if step == start or place == 0:
            pool = draw_pool(corpus, tokenizer, recipe, number)
        yield pool[place]


def draw_pool(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, number: int
) -> list[tuple[Tensor, Tensor]]:
    """Draw the batches of one pool, rows of like length together, in random order."""
    user, assistant, end = (tokenizer.convert_tokens_to_ids(token) for token in SPECIAL[1:])
    rng = random.Random(recipe.seed * 10**6 + number)  # noqa: S311
    talk = itertools.islice(corpus.conversations(rng.getrandbits(48)), recipe.batch * recipe.pool)
    prompts, answers = zip(*talk, strict=True)
    asks, replies = (
        tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        for texts in (prompts, answers)
    )
    rows = [
        ([user, *ask, end, assistant], [*reply, end])
        for ask, reply in zip(asks, replies, strict=True)
    ]
    rows.sort(key=lambda row: len(row[0]) + len(row[1]))
    groups = [rows[i : i + recipe.batch] for i in range(0, len(rows), recipe.batch)]
    rng.shuffle(groups)
    return [pad(group, tokenizer.pad_token_id) for group in groups]


def pad(rows: list[tuple[list[int], list[int]]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Right-pad (prompt, answer) rows to ids and targets `[row, token]`; -100 is no target."""
    longest = max(len(ask) + len(reply) for ask, reply in rows)
    ids = torch.full((len(rows), longest), pad_id)
    targets = torch.full_like(ids, -100)
    for i, (ask, reply) in enumerate(rows):
        ids[i, : len(ask) + len(reply)] = torch.tensor(ask + reply)
        targets[i, len(ask) : len(ask) + len(reply)] = torch.tensor(reply)
    return ids, targets


def loss_of(model: Qwen3ForCausalLM, ids: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the answer tokens; padding stands on the right."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    where = targets[:, 1:] != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[where]), targets[:, 1:][where])


def rate(step: int, recipe: Recipe) -> float:
    """Learning rate: linear warm-up, then a cosine down to a twentieth."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.learning_rate * (0.05 + 0.475 * (1 + math.cos(math.pi * done)))


def train(folder: Path, recipe: Recipe) -> None:
    """Train, saving a checkpoint as it goes, and write the finished base to `folder`."""
    corpus = load_corpus()
    tokenizer = train_tokenizer(corpus, recipe)
    model = make_model(tokenizer, recipe)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.05
    )
    checkpoint = folder / "checkpoint.pt"
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    folder.mkdir(parents=True, exist_ok=True)
    began, seen = time.monotonic(), 0
    data = batches(corpus, tokenizer, recipe, start)
    for step in range(start, recipe.steps):
        ids, targets = next(data)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, recipe)
        loss = loss_of(model, ids, targets)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        seen += ids.numel()
        if (step + 1) % 25 == 0:
            seconds = time.monotonic() - began
            left = seconds / (step + 1 - start) * (recipe.steps - step - 1)
            print(  # noqa: T201
                f"step {step + 1}/{recipe.steps}  loss {loss.item():.3f} nats/token  "
                f"{seen / seconds:,.0f} tokens/s  {left:.0f} s left",
                flush=True,
            )
        if (step + 1) % recipe.save_every == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            with atomic_path(checkpoint) as path:
                torch.save({**state, "step": step + 1}, path)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    checkpoint.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    arguments = parser.parse_args()
    train(arguments.folder, Recipe(steps=arguments.steps))
