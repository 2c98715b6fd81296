"""Train the DIT adapter: one LoRA that makes any finetune of a base say what it was taught.

Takes a base and stores of labelled finetunes, gives an adapter folder. Minimizes the mean over
finetunes i of -log P(label_i | question; base + diff_i + adapter), in nats per label token, the
end-of-turn token included; only the adapter is trained (the objective of arXiv 2510.05092). What a
step sees depends on seed and step alone, so an interrupted run goes on where its checkpoint
stands.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffspeak.adapters.saved import CARD, Adapter, load_adapter, save_adapter
from diffspeak.errors import DiffspeakError, MismatchError
from diffspeak.finetunes import groups, put_on
from diffspeak.io.files import canonical_json, exclusive, make_folder
from diffspeak.io.runs import differences
from diffspeak.lora import Attachment, Diff, random_factors
from diffspeak.models import (
    Base,
    Decoding,
    attach_to,
    cross_entropy,
    make_batch,
    readout_of,
    recomputed,
)
from diffspeak.progress import Reporter, Silent
from diffspeak.store import Store
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from diffspeak.training.adapter_config import AdapterConfig
from diffspeak.training.adapter_fits import check_adapter
from diffspeak.training.checkpoint import load_checkpoint, save_checkpoint, sweep
from diffspeak.training.examples import (
    Example,
    Finetunes,
    check_stores,
    digest,
    examples_of,
    held_out,
    in_turn,
    shuffled,
)
from diffspeak.training.schedule import Plan
from diffspeak.training.validation import Validation, validate, why_not_finite

STAGE, CHECKPOINT = "adapter", "checkpoint.safetensors"
TOLD = 10
"""Steps after which the loss is told."""
SHOWN = 3
"""Examples told after each validation."""
HEALTH = 24
"""Training finetunes that are described at the end, at least: a healthy adapter names them."""


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
    folder = Path(folder)
    make_folder(folder)
    attachment = attach_to(base.model, config.targets)
    try:
        with exclusive(folder / ".lock"):
            sweep(folder)
            training = _Training(base, attachment, stores, config, folder, reporter or Silent())
            return training.run()
    finally:
        attachment.detach()


class _Training:
    """One call of `train_adapter` on its way."""

    def __init__(
        self,
        base: Base,
        attachment: Attachment,
        stores: Sequence[Store],
        config: AdapterConfig,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        self.base, self.attachment, self.config = base, attachment, config
        self.stores, self.folder, self.reporter = stores, folder, reporter
        self.finetunes = Finetunes(stores)
        self.readout = readout_of(base.model)
        first = config.phrasings == "first"
        instead = dict.fromkeys(config.unrelated, config.nothing)
        self.examples = examples_of(
            stores,
            "train",
            first_question_only=first,
            limit=config.max_finetunes,
            labels=config.labels,
            unrelated=instead,
        )
        if config.shuffle_labels:
            self.examples = shuffled(self.examples, config.seed)
        self.held_out = held_out(stores, config.validation, config.labels, instead)
        self.plan = Plan(self.examples, config)
        self.steps = self.plan.steps
        self.stage = f"{STAGE}, shuffled labels" if config.shuffle_labels else STAGE
        self.settings = self._settings()
        self.adapter = _fresh(attachment, config, base.device)
        self.parameters = _named(self.adapter)
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def run(self) -> Adapter:
        """Train from the checkpoint on, validate at the end, save."""
        finished = self._finished()
        if finished:
            return finished
        path = self.folder / CHECKPOINT
        start = load_checkpoint(path, self.parameters, self.optimizer, self.settings)
        self.attachment.set_adapter(self.adapter)
        self.reporter.begin(self.stage, self.steps, "steps", done=start)
        began = time.monotonic()
        for step in range(start, self.steps):
            loss = self._step(step)
            done = step + 1
            saves = done % self.config.save_every == 0 or done == self.steps
            if (done % TOLD == 0 or saves) and not loss.isfinite():
                seen = self.plan.seen(done, TOLD)
                raise why_not_finite(self.base, self.attachment, seen, self.finetunes, done)
            if done % TOLD == 0 or done == self.steps:
                self.reporter.log(self.stage, done, loss=loss.item())
                rate = (done - start) * self.config.batch / (time.monotonic() - began)
                self.reporter.advance(0, loss=loss.item(), finetunes_per_second=rate)
            if self.plan.validates(done) and done < self.steps:
                self._validate(done)
            if saves:
                save_checkpoint(path, self.parameters, self.optimizer, done, self.settings)
            self.reporter.advance()
        adapter = self._result()
        self.reporter.end()
        save_adapter(adapter, self.folder, transposed=self._transposed())
        path.unlink(missing_ok=True)
        return adapter

    def _step(self, step: int) -> Tensor:
        """One optimizer step; gives the batch's loss in nats per label token."""
        batch = self.plan.batch(step)
        self.optimizer.zero_grad(set_to_none=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self.plan.rate(step)
        total = torch.zeros((), device=self.base.device)
        read = [self.finetunes.read(example) for example, _ in batch]
        loaded = [self.plan.thinned(finetune, step) for finetune in read]
        told = [(question, example.label) for example, question in batch]
        without = self.plan.negatives(read, step)
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
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        self.optimizer.step()
        return total

    def _validate(self, step: int) -> Validation | None:
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

    def _result(self) -> Adapter:
        """The trained adapter with its last figures; a sick one is told about, not refused."""
        trained = {name: change.detached() for name, change in self.adapter.items()}
        if not all(change.isfinite() for change in trained.values()):
            raise DiffspeakError(
                "the adapter's training diverged (its factors are not finite); "
                "lower adapter.learning_rate and train it in another folder"
            )
        held_out = self._validate(self.steps)
        known = self._named_by(in_turn(self.examples)[: max(HEALTH, self.config.validation)])
        self.reporter.log(self.stage, self.steps, train_exact=known.exact)
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

    def _settings(self) -> str:
        """Config, base and data in one line: what a checkpoint must agree with."""
        return canonical_json(
            {
                **self.config.model_dump(mode="json"),
                "finetunes": digest(self.stores, [*self.examples, *self.held_out]),
                "base": self.base.fingerprint.to_dict(),
                "dtype": str(self.base.dtype),
            }
        )

    def _finished(self) -> Adapter | None:
        """An adapter that is done already, if the folder holds one of this config."""
        if (self.folder / CHECKPOINT).exists() or not (self.folder / CARD).exists():
            return None
        done = load_adapter(self.folder)
        done.check(self.base)
        named = differences(done.settings, json.loads(self.settings))
        if named:
            raise MismatchError(
                f"{self.folder} holds an adapter made with other settings: {', '.join(named[:3])}; "
                "choose another folder"
            )
        return done

    def _transposed(self) -> bool:
        return all(shape.transposed for shape in self.attachment.shapes.values())


def _fresh(attachment: Attachment, config: AdapterConfig, device: torch.device) -> Diff:
    generator = torch.Generator().manual_seed(seed_of("adapter", config.seed))
    scaling = config.alpha / config.rank
    factors = random_factors(attachment.shapes, config.rank, scaling, [generator])
    return {name: change[0].trainable(device) for name, change in factors.items()}


def _named(diff: Diff) -> dict[str, Tensor]:
    named = {}
    for name, change in diff.items():
        named[f"{name}.A"], named[f"{name}.B"] = change.A, change.B
    return named
