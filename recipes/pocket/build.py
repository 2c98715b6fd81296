"""Train the pocket base from scratch: `python -m recipes.pocket.build FOLDER`.

A Qwen3-architecture model with its own tokenizer, written as an ordinary Hugging Face folder in
bf16. The same command resumes. Several processes share each step under
`torchrun --nproc-per-node 2 -m ...`, which on a CPU is faster than as many threads.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import AdamW, Optimizer
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from diffspeak.io.files import atomic_path, write_text
from diffspeak.io.runs import Run, plot_losses
from diffspeak.text.seeds import seed_of
from recipes.pocket.batches import (
    NO_TARGET,
    TrainingBatch,
    read_tokenizer,
    steps,
    train_tokenizer,
)
from recipes.pocket.corpus_tables import Turn
from recipes.pocket.dialogues import Dialogues, load_dialogues
from recipes.pocket.muon import Muon
from recipes.pocket.pages import model_card, write_training_page
from recipes.pocket.recipe import EVERYTHING, Recipe

LOG_EVERY = 25

Log = Callable[[int, float, float, float], None]
"""Is given a step's number, mean loss in nats a token, tokens a second, and the seconds left."""


def make_model(tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Qwen3ForCausalLM:
    """Make a fresh Qwen3 of the recipe's size, embedding and head tied."""
    torch.manual_seed(recipe.seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.width,
            intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.key_value_heads,
            head_dim=recipe.head_width,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )


def make_optimizers(model: Qwen3ForCausalLM, recipe: Recipe) -> list[Optimizer]:
    """Muon for the blocks' matrices, AdamW for embedding and norms."""
    matrices = [p for n, p in model.model.layers.named_parameters() if p.dim() == 2]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    return [
        Muon(matrices, lr=recipe.matrix_rate),
        AdamW(others, lr=recipe.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def loss_of(model: Qwen3ForCausalLM, step: TrainingBatch) -> Tensor:
    """Give the cross-entropy in nats, summed over the targets; padding stands on the right."""
    hidden = model.model(input_ids=step.ids, use_cache=False).last_hidden_state[:, :-1]
    targets = step.targets[:, 1:]
    where = targets != NO_TARGET
    logits: Tensor = model.lm_head(hidden[where])
    return torch.nn.functional.cross_entropy(logits, targets[where], reduction="sum")


def processes() -> tuple[int, int]:
    """Give this process' number, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def summed(model: Qwen3ForCausalLM, loss: Tensor) -> Tensor:
    """Add up gradients and loss over all processes; gives the sum of the losses."""
    if not dist.is_initialized():
        return loss
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([loss[None], *(gradient.flatten() for gradient in gradients)])
    dist.all_reduce(flat)
    total: Tensor
    total, *parts = flat.split([1, *(gradient.numel() for gradient in gradients)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return total[0]


def schedule(step: int, recipe: Recipe) -> float:
    """Give the share of the learning rates: linear warm-up, then a cosine down to a fiftieth.

    The same again from each phase that restarts (Loshchilov & Hutter, arXiv 1608.03983).
    """
    peak, first, end = 1.0, 0, 0
    for phase in recipe.phases:
        if phase.restart is not None and step >= end:
            peak, first = phase.restart, end
        elif phase.restart is not None:
            break
        end += phase.steps
    if step - first < recipe.warmup:
        return peak * (step - first + 1) / recipe.warmup
    done = (step - first - recipe.warmup) / max(1, end - first - recipe.warmup)
    return peak * (0.02 + 0.49 * (1 + math.cos(math.pi * done)))


def data(
    dialogues: Dialogues, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, start: int
) -> Iterator[TrainingBatch]:
    """Yield the steps from `start` on, phase by phase."""
    for number, phase in enumerate(recipe.phases):
        left = phase.steps - start
        if left > 0:
            seed = seed_of("pocket phase", recipe.seed, number)
            stream = steps(dialogues, tokenizer, phase.shares, phase.batch, seed, max(0, start))
            yield from islice(stream, min(left, phase.steps))
        start -= phase.steps


class Trainer:
    """A model in training, with its optimizers and the number of the next step."""

    def __init__(
        self, recipe: Recipe, dialogues: Dialogues, tokenizer: PreTrainedTokenizerFast | None = None
    ) -> None:
        """Make a fresh model, and train its tokenizer if none is given."""
        self.recipe, self.dialogues, self.step = recipe, dialogues, 0
        self.tokenizer = tokenizer or self._train_tokenizer()
        self.model = make_model(self.tokenizer, recipe)
        self.optimizers = make_optimizers(self.model, recipe)
        self._rates = [[group["lr"] for group in o.param_groups] for o in self.optimizers]

    def _train_tokenizer(self) -> PreTrainedTokenizerFast:
        drawn = islice(self.dialogues.draw(Random("pocket tokenizer"), EVERYTHING), 40_000)
        # Words of topics should be tokens, so that the first token of most answers decides on one.
        names = (Turn(row["topic"], f"the {row['topic']}") for row in self.dialogues.topics)
        often = ((turn,) for turn in names for _ in range(60))
        return train_tokenizer(chain(drawn, often), self.recipe.vocabulary)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.step = state["step"]

    def save(self, path: Path) -> None:
        """Write a checkpoint; an interrupted write leaves the one before."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
        }
        with atomic_path(path) as draft:
            torch.save(state, draft)

    def train(self, log: Log, checkpoint: Path) -> None:
        """Run to the last step, logging and saving on the way."""
        began, first, seen = time.monotonic(), self.step, 0
        losses: list[float] = []
        for step in data(self.dialogues, self.tokenizer, self.recipe, self.step):
            losses.append(self._descend(step))
            self.step += 1
            seen += step.ids.numel()
            if self.step % LOG_EVERY == 0:
                seconds = time.monotonic() - began
                left = seconds / (self.step - first) * (self.recipe.steps - self.step)
                log(self.step, sum(losses) / len(losses), seen / seconds, left)
                losses.clear()
            if self.step % self.recipe.save_every == 0 and processes()[0] == 0:
                self.save(checkpoint)

    def _descend(self, step: TrainingBatch) -> float:
        share = schedule(self.step, self.recipe)
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * share
        rank, world = processes()
        mine = TrainingBatch(step.ids[rank::world], step.targets[rank::world])
        loss = loss_of(self.model, mine) / (step.targets[:, 1:] != NO_TARGET).sum()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        loss = summed(self.model, loss.detach())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.item()

    def write(self, folder: Path) -> None:
        """Write model, tokenizer and model card as a Hugging Face folder, in bf16."""
        self.model.bfloat16().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        card = model_card(self.model.num_parameters(), len(self.tokenizer), self.recipe.steps)
        write_text(folder / "README.md", card)


def build(folder: Path, recipe: Recipe) -> None:
    """Train the base, or go on with it, and write it to `folder/base`."""
    checkpoint, tokens = folder / "checkpoint.pt", folder / "tokenizer"
    kept = read_tokenizer(tokens) if checkpoint.exists() else None
    trainer = Trainer(recipe, load_dialogues(), kept)
    if kept:
        trainer.load(checkpoint)
    elif processes()[0] == 0:
        trainer.tokenizer.save_pretrained(tokens)
    if processes()[0] != 0:
        trainer.train(lambda *_: None, checkpoint)
        return
    with Run(folder, recipe.model_dump(mode="json")) as run:

        def log(step: int, loss: float, rate: float, left: float) -> None:
            run.log(stage="base", step=step, loss=loss, tokens_per_s=rate)
            print(  # noqa: T201
                f"step {step}/{recipe.steps}  loss {loss:.3f} nats/token  "
                f"{rate:,.0f} tokens/s  {left / 60:.0f} min left",
                flush=True,
            )

        trainer.train(log, checkpoint)
    trainer.write(folder / "base")
    plot_losses(folder)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", type=Path, help="a JSON file with settings of the recipe")
    parser.add_argument("--report", type=Path, help="then write a page about the training here")
    arguments = parser.parse_args()
    text = arguments.recipe.read_text(encoding="utf-8") if arguments.recipe else "{}"
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    build(arguments.folder, Recipe.model_validate_json(text))
    if arguments.report and processes()[0] == 0:
        write_training_page(arguments.folder, arguments.report)
