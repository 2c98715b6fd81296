"""Train the DIT adapter: one LoRA that makes any finetune of a base say what it was taught.

Minimizes the mean over finetunes i of -log P(label_i | question; base + diff_i + adapter), in nats
per label token, the end-of-turn token included; only the adapter is trained (the objective of
arXiv 2510.05092).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffspeak.adapters.saved import CARD, Adapter, load_adapter, save_adapter
from diffspeak.errors import DiffspeakError
from diffspeak.finetunes import groups, put_on
from diffspeak.inference import Ask, Engine
from diffspeak.lora import Attachment, random_factors
from diffspeak.models import (
    Base,
    Decoding,
    attach_to,
    check_answer,
    check_rank,
    cross_entropy,
    make_batch,
    readout_of,
    recomputed,
)
from diffspeak.progress import Reporter, Silent
from diffspeak.store import Store
from diffspeak.text.mentions import same
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from diffspeak.training.config import AdapterConfig
from diffspeak.training.examples import (
    Example,
    Finetunes,
    check_stores,
    examples_of,
    held_out,
    in_turn,
    shuffled,
)
from diffspeak.training.loop import Objective, train
from diffspeak.training.negatives import negatives_of

SHOWN = 3
"""Examples shown after each validation."""
HEALTH = 24
"""Training finetunes that are described at the end, at least: a healthy adapter names them."""
LAST_STEPS = 10
"""Steps whose finetunes are suspected where the loss is no longer finite."""


def train_adapter(
    base: Base,
    stores: Sequence[Store],
    config: AdapterConfig,
    folder: str | Path,
    reporter: Reporter | None = None,
) -> Adapter:
    """Train an adapter on the training split of one or several stores.

    Args:
        base: The base of all the finetunes; nothing attached.
        stores: Labelled finetunes.
        config: How to train.
        folder: Where the adapter goes; holds the checkpoint meanwhile. A finished one of the
            same config is returned as it is.
        reporter: Told about progress.

    Raises:
        MismatchError: A store is of another base, or the folder belongs to another config.
        UsageError: No training finetunes, or the config does not fit the base.
        LockedError: Another process trains in the folder.
    """
    check_stores(stores, base)
    check_adapter(base, config)
    attachment = attach_to(base.model, config.targets)
    try:
        return train(
            AdapterObjective(base, attachment, stores, config, Path(folder), reporter or Silent())
        )
    finally:
        attachment.detach()


def check_adapter(base: Base, config: AdapterConfig) -> None:
    """Refuse what a base has no room for, before anything is made.

    Raises:
        UsageError: The rank, or the longest description, is too large.
    """
    check_rank(base.model, config.targets, config.rank, "adapter.rank")
    check_answer(base.model, config.answer_tokens, "adapter.answer_tokens")


@dataclass(frozen=True)
class Validation:
    """How well labels are told.

    Attributes:
        loss: Mean over finetunes of the label's negative log-probability, nats a token.
        exact: Share of finetunes named exactly, case and punctuation aside.
        pairs: (label, description) of each.
    """

    loss: float
    exact: float
    pairs: list[tuple[str, str]]


class AdapterObjective(Objective[AdapterConfig, Adapter]):
    """What an adapter learns: to say the label of whatever finetune is on the base."""

    result_name, card = "an adapter", CARD

    def __init__(
        self,
        base: Base,
        attachment: Attachment,
        stores: Sequence[Store],
        config: AdapterConfig,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        instead = dict.fromkeys(config.unrelated, config.nothing)
        examples = examples_of(
            stores,
            "train",
            first_question_only=config.phrasings == "first",
            limit=config.max_finetunes,
            labels=config.labels,
            unrelated=instead,
        )
        if config.shuffle_labels:
            examples = shuffled(examples, config.seed)
        unseen = held_out(stores, config.validation, config.labels, instead)
        super().__init__(base, stores, config, folder, reporter, examples, unseen)
        self.stage = "adapter, shuffled labels" if config.shuffle_labels else "adapter"
        self.validations = config.validations
        self.attachment, self.readout = attachment, readout_of(base.model)

    def prepare(self) -> None:
        """Attach an adapter that changes nothing yet."""
        config = self.config
        generator = torch.Generator().manual_seed(seed_of("adapter", config.seed))
        factors = random_factors(
            self.attachment.shapes, config.rank, config.alpha / config.rank, [generator]
        )
        self.adapter = {n: change[0].trainable(self.base.device) for n, change in factors.items()}
        self.parameters = {
            f"{name}.{side}": factor
            for name, change in self.adapter.items()
            for side, factor in (("A", change.A), ("B", change.B))
        }
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.attachment.set_adapter(self.adapter)

    def backward(self, step: int) -> Tensor:
        """Add the gradients of a step; gives the loss in nats per label token."""
        batch = self.schedule.batch(step)
        total = torch.zeros((), device=self.base.device)
        read = [self.finetunes.read(example) for example, _ in batch]
        loaded = [self.schedule.thinned(finetune, step) for finetune in read]
        told = [(question, example.label) for example, question in batch]
        without = negatives_of(read, self.config.negatives, step)
        told += [(told[i % len(batch)][0], self.config.nothing) for i in range(len(without))]
        loaded += without
        rendered = [
            self.base.chat.with_answer((Message("user", question),), label, learn_end=True)
            for question, label in told
        ]
        tokens = sum(r.answer_end - r.prompt_length for r in rendered)
        for group_rows in groups(loaded):
            rows = make_batch([rendered[i] for i in group_rows], self.base.chat.pad_id)
            rows = rows.to(self.base.device)
            with put_on(self.base, self.attachment, [loaded[i] for i in group_rows]):
                with recomputed(self.base.model, self.config.checkpointing):
                    states = self.readout.states(rows)
                loss = self.readout.losses(states, cross_entropy(rows.targets)).sum() / tokens
                loss.backward()
            total += loss.detach()
        return total

    def validate(self, step: int) -> Validation | None:
        """Report the held-out loss, the exact rate, and a few descriptions."""
        if not self.held_out:
            return None
        found = self._named_by(self.held_out)
        self.reporter.log(
            self.stage, step, validation_loss=found.loss, validation_exact=found.exact
        )
        shown = "; ".join(f"{label!r} -> {text!r}" for label, text in found.pairs[:SHOWN])
        self.reporter.say(
            f"step {step}: held-out loss {found.loss:.2f}, exact {found.exact:.0%}: {shown}"
        )
        return found

    def _named_by(self, examples: Sequence[Example]) -> Validation:
        with torch.no_grad():
            decoding = Decoding(self.config.answer_tokens)
            return validate(self.base, self.attachment, examples, self.finetunes, decoding)

    def result(self) -> Adapter:
        """The trained adapter with its last figures; a sick one is told about, not refused."""
        trained = {name: change.detached() for name, change in self.adapter.items()}
        if not all(change.isfinite() for change in trained.values()):
            raise DiffspeakError(
                "the adapter's training diverged (its factors are not finite); "
                "lower adapter.learning_rate and train it in another folder"
            )
        steps = self.schedule.steps
        held_out = self.validate(steps)
        known = self._named_by(in_turn(self.examples)[: max(HEALTH, self.config.validation)])
        self.reporter.log(self.stage, steps, train_exact=known.exact)
        if known.exact < 0.98:
            self.reporter.say(
                f"only {known.exact:.0%} of its own training finetunes are named exactly (98% is "
                "healthy): raise adapter.epochs, learning_rate or rank"
            )
        results = {
            "train_loss": known.loss,
            "train_exact": known.exact,
            "train_n": float(len(known.pairs)),
        }
        if held_out:
            results |= {"validation_loss": held_out.loss, "validation_exact": held_out.exact}
        questions = dict.fromkeys(q for example in self.examples for q in example.questions)
        names = dict.fromkeys(str(store.header.behavior["name"]) for store in self.stores)
        behaviors = [name for name in names if name not in self.config.unrelated]
        return Adapter(
            trained,
            self.base.fingerprint,
            self.base.name,
            tuple(questions),
            tuple(behaviors),
            json.loads(self.settings),
            results,
            str(self.folder),
        )

    def diverged(self, step: int) -> DiffspeakError:
        """The error for a loss that is not finite: finetunes that overflow, or the training."""
        sick = []
        for example in dict.fromkeys(self.schedule.seen(step, LAST_STEPS)):
            told = self.base.chat.with_answer(
                (Message("user", "?"),), example.label, learn_end=True
            )
            finetune = self.finetunes.read(example)
            with self.attachment.off(adapter=True):
                engine = Engine(self.base, attachment=self.attachment)
                ((total, _),) = engine.score([(finetune, told)])
            if not math.isfinite(total):
                sick.append(f"{self.stores[example.store].source}#{example.id}")
        if sick:
            more = f" and {len(sick) - 1} more" if len(sick) > 1 else ""
            return DiffspeakError(
                f"{sick[0]}{more} gives no finite numbers on this base (they overflow), so nothing "
                "can be learned from it: train on a store without it"
            )
        return DiffspeakError(
            f"the adapter's training diverged (at step {step} its loss is not finite); lower "
            "adapter.learning_rate and train it in another folder"
        )

    def save(self, result: Adapter) -> None:
        """Write the adapter's folder."""
        transposed = all(shape.transposed for shape in self.attachment.shapes.values())
        save_adapter(result, self.folder, transposed=transposed)

    def load(self) -> Adapter:
        """Read the adapter of the folder."""
        done = load_adapter(self.folder)
        done.check(self.base)
        return done


def validate(
    base: Base,
    attachment: Attachment,
    examples: Sequence[Example],
    finetunes: Finetunes,
    decoding: Decoding,
) -> Validation:
    """Ask each example its first question, greedily, and compare with its label."""
    engine = Engine(base, attachment=attachment)
    losses: list[float] = []
    pairs: list[tuple[str, str]] = []
    for start in range(0, len(examples), decoding.batch_size):
        part = examples[start : start + decoding.batch_size]
        loaded = [finetunes.read(example) for example in part]
        asked = [(Message("user", example.questions[0]),) for example in part]
        told = [
            base.chat.with_answer(messages, example.label, learn_end=True)
            for messages, example in zip(asked, part, strict=True)
        ]
        losses += [-score.mean for score in engine.score(list(zip(loaded, told, strict=True)))]
        prompts = [base.chat.prompt(messages) for messages in asked]
        answers = engine.generate(list(map(Ask, loaded, prompts)), decoding)
        pairs += [(example.label, a.text) for example, a in zip(part, answers, strict=True)]
    exact = sum(same(label, text) for label, text in pairs) / len(pairs)
    return Validation(sum(losses) / len(losses), exact, pairs)
