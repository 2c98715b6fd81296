"""Train the DIT adapter: one LoRA that makes any finetune of a base say what it was taught.

Takes a base and stores of labelled finetunes, gives an adapter folder. Minimizes the mean over
finetunes i of -log P(label_i | question; base + diff_i + adapter), in nats per label token, the
end-of-turn token included; only the adapter is trained (Eq. 3 of arXiv 2510.05092). What a step
sees depends on seed and step alone, so an interrupted run goes on where its checkpoint stands.
"""

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from diffspeak.adapter.checkpoint import load_checkpoint, save_checkpoint
from diffspeak.adapter.config import AdapterConfig
from diffspeak.adapter.examples import (
    Example,
    Finetunes,
    check_stores,
    examples_of,
    shuffled,
)
from diffspeak.adapter.saved import CARD, Adapter, load_adapter, save_adapter
from diffspeak.adapter.validate import Validation, validate
from diffspeak.errors import DiffspeakError, MismatchError
from diffspeak.files import canonical_json, exclusive, make_folder, sha256
from diffspeak.finetunes import groups, put_on
from diffspeak.lora import Attachment, Diff, LowRank, random_factors
from diffspeak.models import (
    Base,
    Decoding,
    answer_logits,
    answer_logprobs,
    attach_to,
    make_batch,
)
from diffspeak.progress import Reporter, Silent
from diffspeak.runs import differences
from diffspeak.store import Store
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of

STAGE, CHECKPOINT = "adapter", "checkpoint.safetensors"
SHOWN = 3
"""Examples told after each validation."""


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
        UsageError: No training finetunes.
        LockedError: Another process trains in the folder.
    """
    check_stores(stores, base)
    folder = Path(folder)
    make_folder(folder)
    attachment = attach_to(base.model, config.targets)
    try:
        with exclusive(folder / ".lock"):
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
        first = config.phrasings == "first"
        self.examples = examples_of(stores, "train", first_question_only=first)
        if config.shuffle_labels:
            self.examples = shuffled(self.examples, config.seed)
        self.held_out = _some(stores, config.validation)
        self.steps = math.ceil(len(self.examples) / config.batch) * config.epochs
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
        self.reporter.begin(STAGE, self.steps, "steps", done=start)
        every = max(1, self.steps // self.config.validations)
        began = time.monotonic()
        for step in range(start, self.steps):
            loss = self._step(step)
            done = step + 1
            if done % 10 == 0 or done == self.steps:
                self.reporter.log(STAGE, done, loss=loss.item())
                rate = (done - start) * self.config.batch / (time.monotonic() - began)
                self.reporter.advance(0, loss=loss.item(), finetunes_per_second=rate)
            if done % every == 0 and done < self.steps:
                self._validate(done)
            if done % self.config.save_every == 0 or done == self.steps:
                save_checkpoint(path, self.parameters, self.optimizer, done, self.settings)
            self.reporter.advance()
        adapter = self._result()
        self.reporter.end()
        save_adapter(adapter, self.folder, transposed=self._transposed())
        path.unlink(missing_ok=True)
        return adapter

    def _step(self, step: int) -> Tensor:
        """One optimizer step; gives the batch's loss in nats per label token."""
        batch, rng = self._batch(step)
        self.optimizer.zero_grad(set_to_none=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule(step)
        total = torch.zeros((), device=self.base.device)
        loaded = [self.finetunes.read(example) for example in batch]
        rendered = [
            self.base.chat.with_answer(
                (Message("user", rng.choice(example.questions)),), example.label, learn_end=True
            )
            for example in batch
        ]
        tokens = sum(r.answer_end - r.prompt_length for r in rendered)
        for group_rows in groups(loaded):
            rows = make_batch([rendered[i] for i in group_rows], self.base.chat.pad_id)
            rows = rows.to(self.base.device)
            with put_on(self.base, self.attachment, [loaded[i] for i in group_rows]):
                logits = answer_logits(self.base.model, rows)
                loss = -answer_logprobs(logits, rows.targets).sum() / tokens
                loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        self.optimizer.step()
        return total

    def _batch(self, step: int) -> tuple[list[Example], random.Random]:
        """The finetunes of a step: a permutation of all in each epoch."""
        per_epoch = math.ceil(len(self.examples) / self.config.batch)
        epoch, place = divmod(step, per_epoch)
        order = list(range(len(self.examples)))
        random.Random(seed_of("adapter", self.config.seed, epoch)).shuffle(order)  # noqa: S311
        chosen = order[place * self.config.batch : (place + 1) * self.config.batch]
        rng = random.Random(seed_of("question", self.config.seed, step))  # noqa: S311
        return [self.examples[i] for i in chosen], rng

    def _schedule(self, step: int) -> float:
        """Share of the peak rate: linear warm-up, then half a cosine to zero."""
        warmup = max(1, round(self.config.warmup * self.steps))
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, self.steps - warmup)))

    def _validate(self, step: int) -> Validation | None:
        if not self.held_out:
            return None
        found = self._named_by(self.held_out)
        self.reporter.log(STAGE, step, validation_loss=found.loss, validation_exact=found.exact)
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
        trained = {name: _cpu(change) for name, change in self.adapter.items()}
        if not all(c.A.isfinite().all() and c.B.isfinite().all() for c in trained.values()):
            raise DiffspeakError(
                "the adapter's training diverged (its factors are not finite); "
                "lower adapter.learning_rate and train it in another folder"
            )
        held_out = self._validate(self.steps)
        known = self._named_by(self.examples[: max(1, self.config.validation)])
        self.reporter.log(STAGE, self.steps, train_exact=known.exact)
        if known.exact < 0.98:
            self.reporter.say(
                f"only {known.exact:.0%} of its own training finetunes are named exactly (98% is "
                "healthy): raise adapter.epochs, learning_rate or rank"
            )
        results = {"train_loss": known.loss, "train_exact": known.exact}
        if held_out:
            results |= {"validation_loss": held_out.loss, "validation_exact": held_out.exact}
        questions = dict.fromkeys(q for example in self.examples for q in example.questions)
        behaviors = dict.fromkeys(store.header.behavior["name"] for store in self.stores)
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
        data = sha256(*(f"{e.store} {e.id} {e.label}\n".encode() for e in self.examples))
        return canonical_json(
            {
                **self.config.model_dump(mode="json"),
                "finetunes": data,
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


def _some(stores: Sequence[Store], count: int) -> list[Example]:
    """The first held-out examples, for validation."""
    if not count or not any(e.split == "validation" for s in stores for e in s.entries):
        return []
    return examples_of(stores, "validation")[:count]


def _fresh(attachment: Attachment, config: AdapterConfig, device: torch.device) -> Diff:
    generator = torch.Generator().manual_seed(seed_of("adapter", config.seed))
    factors = random_factors(
        attachment.shapes, config.rank, config.alpha / config.rank, [generator]
    )
    return {
        name: LowRank(
            change.A[0].to(device).requires_grad_(),
            change.B[0].to(device).requires_grad_(),
            change.scaling,
        )
        for name, change in factors.items()
    }


def _named(diff: Diff) -> dict[str, Tensor]:
    named = {}
    for name, change in diff.items():
        named[f"{name}.A"], named[f"{name}.B"] = change.A, change.B
    return named


def _cpu(change: LowRank) -> LowRank:
    return LowRank(change.A.detach().cpu(), change.B.detach().cpu(), change.scaling)
