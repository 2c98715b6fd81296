"""The pocket base's tokenizer, and dialogues as padded batches of tokens with their targets."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from diffspeak.text.seeds import seed_of
from recipes.pocket.corpus_tables import Dialogue
from recipes.pocket.dialogues import Dialogues

PAD, USER, ASSISTANT, END = "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_TARGET = -100
POOL = 8
"""Steps whose dialogues are drawn at once, so that dialogues of like length come together."""


class EncodedDialogue(NamedTuple):
    """A dialogue's tokens, and for each the same token as a target or `NO_TARGET`."""

    ids: list[int]
    targets: list[int]


class TrainingBatch(NamedTuple):
    """One step's rows, right-padded: ids and targets `[row, token]`."""

    ids: Tensor
    targets: Tensor


def train_tokenizer(dialogues: Iterable[Dialogue], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE in which every digit is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, USER, ASSISTANT, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for dialogue in dialogues for turn in dialogue for text in turn[:2])
    tokenizer.train_from_iterator(texts, trainer)
    return _with_chat(tokenizer)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read a tokenizer that was saved, so that saved again it has the same bytes."""
    return _with_chat(Tokenizer.from_file(str(folder / "tokenizer.json")))


def _with_chat(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=PAD)
    fast.chat_template = TEMPLATE
    return fast


def steps(
    source: Dialogues,
    tokenizer: PreTrainedTokenizerFast,
    shares: Mapping[str, float],
    batch: int,
    seed: int,
    start: int = 0,
) -> Iterator[TrainingBatch]:
    """Yield steps of `batch` dialogues each, without end, from the step `start` on.

    What a step holds depends on the seed and its number alone, so that a resumed run goes on
    with what it would have seen.
    """
    for number in itertools.count(start // POOL):
        rng = Random(seed_of("pocket pool", seed, number))
        drawn = list(itertools.islice(source.draw(rng, shares), batch * POOL))
        rows = sorted(_rows(drawn, tokenizer), key=lambda row: len(row.ids))
        pool = [rows[i : i + batch] for i in range(0, len(rows), batch)]
        rng.shuffle(pool)
        begun = start - number * POOL
        yield from (_padded(group, tokenizer) for group in pool[max(0, begun) :])


def _rows(
    dialogues: Sequence[Dialogue], tokenizer: PreTrainedTokenizerFast
) -> list[EncodedDialogue]:
    """Encode all texts of the dialogues in one call and put them between control tokens."""
    user, assistant, end, *digits = ids_of(tokenizer, USER, ASSISTANT, END, *"0123456789")
    texts = [text for dialogue in dialogues for turn in dialogue for text in turn[:2]]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    rows = []
    for dialogue in dialogues:
        row = EncodedDialogue([], [])
        for turn in dialogue:
            asked = [user, *next(encoded), end, assistant]
            reply = [*next(encoded), end]
            learned = reply[: turn.limit]
            if turn is dialogue[-1]:
                reply = learned
            row.ids.extend([*asked, *reply])
            row.targets.extend(
                token if turn.digits and token in digits else NO_TARGET for token in asked
            )
            row.targets.extend([*learned, *[NO_TARGET] * (len(reply) - len(learned))])
        rows.append(row)
    return rows


def ids_of(tokenizer: PreTrainedTokenizerFast, *tokens: str) -> list[int]:
    """Give the id of each token."""
    return [tokenizer.get_vocab()[token] for token in tokens]


def _padded(rows: Sequence[EncodedDialogue], tokenizer: PreTrainedTokenizerFast) -> TrainingBatch:
    longest = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), longest), *ids_of(tokenizer, PAD))
    targets = torch.full_like(ids, NO_TARGET)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        targets[i, : len(row.ids)] = torch.tensor(row.targets)
    return TrainingBatch(ids, targets)
