"""Train the projection of weight-to-text on the stores that a DIT adapter is trained on.

Takes a base and stores of labelled finetunes, gives a folder with the projection. Minimizes the
mean over finetunes of -log P(label | prefix, soft tokens of the diff, suffix; base), in nats per
label token, the end-of-turn token included; the base is frozen. What a step sees depends on seed
and step alone, so an interrupted run goes on where its checkpoint stands.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from diffspeak.errors import DiffspeakError, MismatchError
from diffspeak.finetunes import Finetune
from diffspeak.io.files import canonical_json, exclusive, make_folder
from diffspeak.io.runs import differences
from diffspeak.methods.weight_to_text.config import WeightToTextConfig
from diffspeak.methods.weight_to_text.method import written
from diffspeak.methods.weight_to_text.projection import (
    SLOW,
    Tensors,
    fresh,
    learned,
    measure,
    soft_tokens,
    stacked,
)
from diffspeak.methods.weight_to_text.prompt import soft_prompt
from diffspeak.methods.weight_to_text.saved import (
    CARD,
    Projection,
    load_projection,
    save_projection,
)
from diffspeak.models import (
    Base,
    Decoding,
    check_answer,
    check_rank,
    cross_entropy,
    make_batch,
    plain_shapes,
    readout_of,
)
from diffspeak.progress import Reporter, Silent
from diffspeak.store import Store
from diffspeak.text.mentions import same
from diffspeak.text.messages import Message
from diffspeak.text.seeds import seed_of
from diffspeak.training.checkpoint import load_checkpoint, save_checkpoint, sweep
from diffspeak.training.examples import (
    Example,
    Finetunes,
    check_stores,
    digest,
    examples_of,
    held_out,
    in_turn,
)
from diffspeak.training.schedule import Plan

STAGE, CHECKPOINT = "weight-to-text", "checkpoint.safetensors"
HEALTH = 24
"""Training finetunes that are named at the end, at least."""


def train_weight_to_text(
    base: Base,
    stores: Sequence[Store],
    config: WeightToTextConfig,
    folder: str | Path,
    reporter: Reporter | None = None,
) -> Projection:
    """Train a projection on the training split of one or several stores.

    Args:
        base: The base of all the finetunes; nothing attached.
        stores: Labelled low-rank finetunes.
        config: How to train.
        folder: Where the projection goes; holds the checkpoint meanwhile. A finished one of the
            same config is returned as it is.
        reporter: Told about progress.

    Raises:
        MismatchError: A store is of another base, or the folder belongs to another config.
        UsageError: No training finetunes, one that is not low-rank, or the config does not fit the
            base.
        LockedError: Another process trains in the folder.
    """
    check_stores(stores, base)
    check_projection(base, config)
    folder = Path(folder)
    make_folder(folder)
    with exclusive(folder / ".lock"):
        sweep(folder)
        return _Training(base, stores, config, folder, reporter or Silent()).run()


def check_projection(base: Base, config: WeightToTextConfig) -> None:
    """Refuse what a base has no room for, before anything is made.

    Raises:
        UsageError: The rank, the soft tokens or the answers are too large.
    """
    if config.rank is not None:
        check_rank(base.model, "blocks", config.rank, "rank")
    check_answer(base.model, config.tokens, "tokens")
    check_answer(base.model, config.answer_tokens, "answer_tokens")


class _Training:
    """One call of `train_weight_to_text` on its way."""

    def __init__(
        self,
        base: Base,
        stores: Sequence[Store],
        config: WeightToTextConfig,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        self.base, self.config, self.folder, self.reporter = base, config, folder, reporter
        self.finetunes = Finetunes(stores)
        self.examples = examples_of(stores, "train", limit=config.max_finetunes)
        self.held_out = held_out(stores, config.validation)
        self.plan = Plan(self.examples, config.course)
        self.prompt = soft_prompt(base, config.prefix, config.suffix, config.tokens)
        self.settings = canonical_json(
            {
                **config.model_dump(mode="json"),
                "finetunes": digest(stores, [*self.examples, *self.held_out]),
                "base": base.fingerprint.to_dict(),
                "dtype": str(base.dtype),
            }
        )

    def run(self) -> Projection:
        """Train from the checkpoint on, measure, save."""
        finished = self._finished()
        if finished:
            return finished
        self.tensors = self._fresh()
        self.parameters = learned(self.tensors)
        self.optimizer = self._optimizer()
        self.readout = readout_of(self.base.model)
        path = self.folder / CHECKPOINT
        start = load_checkpoint(path, self.parameters, self.optimizer, self.settings)
        steps = self.plan.steps
        self.reporter.begin(STAGE, steps, "steps", done=start)
        for step in range(start, steps):
            loss = self._step(step)
            done = step + 1
            saves = done % self.config.save_every == 0 or done == steps
            if done % 10 == 0 or saves:
                _check_finite([loss])
            if done % 10 == 0 or done == steps:
                self.reporter.log(STAGE, done, loss=loss.item())
                self.reporter.advance(0, loss=loss.item())
            if saves:
                save_checkpoint(path, self.parameters, self.optimizer, done, self.settings)
            self.reporter.advance()
        projection = self._result()
        self.reporter.end()
        save_projection(projection, self.folder)
        path.unlink(missing_ok=True)
        return projection

    def _step(self, step: int) -> Tensor:
        """One optimizer step; gives the batch's loss in nats per label token."""
        chosen = [example for example, _ in self.plan.batch(step)]
        loaded = [self.plan.thinned(self.finetunes.read(example), step) for example in chosen]
        rows = make_batch(
            [self.prompt.with_answer(self.base, example.label) for example in chosen],
            self.base.chat.pad_id,
        ).to(self.base.device)
        self.optimizer.zero_grad(set_to_none=False)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * group["share"] * self.plan.rate(step)
        vectors = soft_tokens(self.tensors, stacked(self.tensors, loaded), len(loaded))
        with self.prompt.filled(self.base, vectors):
            states = self.readout.states(rows)
        loss = self.readout.losses(states, cross_entropy(rows.targets)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        self.optimizer.step()
        return loss.detach()

    def _fresh(self) -> Tensors:
        """Tensors before training, sizes measured, on the base's device."""
        embedding = self.base.model.get_input_embeddings().weight
        assert isinstance(embedding, Tensor)
        questions = list(dict.fromkeys(q for e in self.examples for q in e.questions))
        generator = torch.Generator().manual_seed(seed_of(STAGE, self.config.seed))
        inputs = mean_inputs(self.base, questions)
        targets = {name for store in self.finetunes.stores for name in store.header.targets}
        every = plain_shapes(self.base.model).items()
        shapes = {name: shape for name, shape in every if name in targets}
        tensors = fresh(shapes, inputs, embedding, self.config, generator)
        measure(tensors, self._parts(self.examples))
        tensors = {name: tensor.to(self.base.device) for name, tensor in tensors.items()}
        for tensor in learned(tensors).values():
            tensor.requires_grad_()
        return tensors

    def _parts(self, examples: Sequence[Example]) -> Iterator[list[Finetune]]:
        size = self.config.batch
        for start in range(0, len(examples), size):
            yield [self.finetunes.read(example) for example in examples[start : start + size]]

    def _optimizer(self) -> torch.optim.Optimizer:
        fast, slow = (
            [tensor for name, tensor in self.parameters.items() if name.endswith(SLOW) is is_slow]
            for is_slow in (False, True)
        )
        for parameter in self.parameters.values():
            # What a step leaves out gets a gradient of zero: each has its place in checkpoints.
            parameter.grad = torch.zeros_like(parameter)
        return torch.optim.AdamW(
            [{"params": fast, "share": 1.0}, {"params": slow, "share": self.config.slow}],
            lr=self.config.learning_rate,
            weight_decay=0.0,
            fused=True,
        )

    def _result(self) -> Projection:
        """The trained projection with its last figures."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.tensors.items()}
        _check_finite(tensors.values())
        asked = {"train": in_turn(self.examples)[:HEALTH], "validation": self.held_out}
        results: dict[str, float] = {}
        for split, examples in asked.items():
            if examples:
                results[f"{split}_asked"] = len(examples)
                results[f"{split}_exact"] = self._exact(examples)
        self.reporter.log(STAGE, self.plan.steps, **results)
        return Projection(
            tensors,
            self.base.fingerprint,
            self.base.name,
            self.config,
            json.loads(self.settings),
            results,
            str(self.folder),
        )

    def _exact(self, examples: Sequence[Example]) -> float:
        """Share of finetunes whose label the base writes exactly."""
        loaded = [self.finetunes.read(example) for example in examples]
        decoding = Decoding(self.config.answer_tokens)
        said = written(self.base, self.prompt, self.tensors, loaded, decoding)
        hits = [same(e.label, a.text) for e, a in zip(examples, said, strict=True)]
        return sum(hits) / len(hits)

    def _finished(self) -> Projection | None:
        """A projection that is done already, if the folder holds one of this config."""
        if (self.folder / CHECKPOINT).exists() or not (self.folder / CARD).exists():
            return None
        done = load_projection(self.folder, self.base)
        named = differences(done.settings, json.loads(self.settings))
        if named:
            raise MismatchError(
                f"{self.folder} holds a projection made with other settings: "
                f"{', '.join(named[:3])}; choose another folder"
            )
        return done


def _check_finite(tensors: Iterable[Tensor]) -> None:
    """Refuse to go on, or to save, where there are no numbers any more."""
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise DiffspeakError(
            "the training of weight-to-text diverged (its numbers are not finite); "
            "lower learning_rate and train it in another folder"
        )


@torch.no_grad()
def mean_inputs(base: Base, prompts: Sequence[str]) -> Tensors:
    """What each linear of the blocks is fed where an answer begins, `[in]`, averaged."""
    names = list(plain_shapes(base.model))
    sums: Tensors = {}

    def watch(name: str, x: Tensor) -> None:
        last = x[0, -1].float().cpu()
        sums[name] = sums.get(name, torch.zeros_like(last)) + last

    hooks = [
        base.model.get_submodule(name).register_forward_pre_hook(
            lambda _, args, name=name: watch(name, args[0])
        )
        for name in names
    ]
    try:
        for prompt in prompts:
            ids = base.chat.prompt((Message("user", prompt),))
            base.model(input_ids=torch.tensor([ids], device=base.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: sums[name] / len(prompts) for name in names}
