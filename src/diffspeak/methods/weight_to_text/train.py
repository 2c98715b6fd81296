"""Train the projection of weight-to-text on the stores that a DIT adapter is trained on.

Minimizes the mean over finetunes of -log P(label | prefix, soft tokens of the diff, suffix; base),
in nats per label token, the end-of-turn token included; the base is frozen.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffspeak.errors import DiffspeakError
from diffspeak.finetunes import Finetune
from diffspeak.methods.weight_to_text.method import soft_prompt, written
from diffspeak.methods.weight_to_text.projection import (
    SLOW,
    ProjectionTensors,
    WeightToTextConfig,
    fresh,
    learned,
    measure,
    soft_tokens,
    stacked,
)
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
from diffspeak.training.examples import Example, check_stores, examples_of, held_out, in_turn
from diffspeak.training.loop import Objective, train

STAGE = "weight-to-text"
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
    return train(ProjectionObjective(base, stores, config, Path(folder), reporter or Silent()))


def check_projection(base: Base, config: WeightToTextConfig) -> None:
    """Refuse what a base has no room for, before anything is made.

    Raises:
        UsageError: The rank, the soft tokens or the answers are too large.
    """
    if config.rank is not None:
        check_rank(base.model, "blocks", config.rank, "rank")
    check_answer(base.model, config.tokens, "tokens")
    check_answer(base.model, config.answer_tokens, "answer_tokens")


class ProjectionObjective(Objective[WeightToTextConfig, Projection]):
    """What a projection learns: soft tokens from which the base writes a finetune's label."""

    stage, result_name, card = STAGE, "a projection", CARD

    def __init__(
        self,
        base: Base,
        stores: Sequence[Store],
        config: WeightToTextConfig,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        examples = examples_of(stores, "train", limit=config.max_finetunes)
        unseen = held_out(stores, config.validation)
        super().__init__(base, stores, config, folder, reporter, examples, unseen)
        self.prompt = soft_prompt(base, config.prefix, config.suffix, config.tokens)

    def prepare(self) -> None:
        """Make tensors on the base's device, sizes measured, and an optimizer of two speeds."""
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
        self.tensors, self.parameters = tensors, learned(tensors)
        for tensor in self.parameters.values():
            tensor.requires_grad_()
        fast, slow = (
            [tensor for name, tensor in self.parameters.items() if name.endswith(SLOW) is is_slow]
            for is_slow in (False, True)
        )
        speeds: list[dict[str, Any]] = [
            {"params": fast},
            {"params": slow, "share": self.config.slow},
        ]
        self.optimizer = torch.optim.AdamW(
            speeds,
            lr=self.config.learning_rate,
            weight_decay=0.0,
            fused=True,
        )
        self.readout = readout_of(self.base.model)

    def _parts(self, examples: Sequence[Example]) -> Iterator[list[Finetune]]:
        size = self.config.batch
        for start in range(0, len(examples), size):
            yield [self.finetunes.read(example) for example in examples[start : start + size]]

    def backward(self, step: int) -> Tensor:
        """Add the gradients of a step; gives the loss in nats per label token."""
        chosen = [example for example, _ in self.schedule.batch(step)]
        loaded = [self.schedule.thinned(self.finetunes.read(e), step) for e in chosen]
        rows = make_batch(
            [self.prompt.with_answer(self.base, example.label) for example in chosen],
            self.base.chat.pad_id,
        ).to(self.base.device)
        vectors = soft_tokens(self.tensors, stacked(self.tensors, loaded), len(loaded))
        with self.prompt.filled(self.base, vectors):
            states = self.readout.states(rows)
        loss = self.readout.losses(states, cross_entropy(rows.targets)).mean()
        loss.backward()
        return loss.detach()

    def diverged(self, step: int) -> DiffspeakError:
        """The error for numbers that are not finite."""
        return _diverged()

    def result(self) -> Projection:
        """The trained projection with its last figures."""
        tensors = {name: tensor.detach().cpu() for name, tensor in self.tensors.items()}
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise _diverged()
        asked = {"train": in_turn(self.examples)[:HEALTH], "validation": self.held_out}
        results: dict[str, float] = {}
        for split, examples in asked.items():
            if examples:
                results[f"{split}_asked"] = len(examples)
                results[f"{split}_exact"] = self._exact(examples)
        self.reporter.log(STAGE, self.schedule.steps, **results)
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

    def save(self, result: Projection) -> None:
        """Write the projection's folder."""
        save_projection(result, self.folder)

    def load(self) -> Projection:
        """Read the projection of the folder."""
        return load_projection(self.folder, self.base)


def _diverged() -> DiffspeakError:
    return DiffspeakError(
        "the training of weight-to-text diverged (its numbers are not finite); "
        "lower learning_rate and train it in another folder"
    )


@torch.no_grad()
def mean_inputs(base: Base, prompts: Sequence[str]) -> ProjectionTensors:
    """What each linear of the blocks is fed where an answer begins, `[in]`, averaged."""
    names = list(plain_shapes(base.model))
    sums: ProjectionTensors = {}

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
