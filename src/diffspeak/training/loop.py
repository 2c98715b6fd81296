"""The one training loop: resume, learning rate, clipping, figures, validation, checkpoints.

What is learned is an `Objective`. What a step sees depends on seed and step alone, so an
interrupted training goes on where its checkpoint stands and ends with the same bytes.
"""

import json
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from diffspeak.errors import DiffspeakError, MismatchError
from diffspeak.finetunes import Finetune
from diffspeak.io.files import canonical_json, exclusive, make_folder
from diffspeak.io.runs import differences
from diffspeak.models import Base
from diffspeak.progress import Reporter
from diffspeak.store import Store
from diffspeak.text.seeds import seed_of
from diffspeak.training.checkpoint import load_checkpoint, save_checkpoint, sweep
from diffspeak.training.examples import Example, Finetunes, digest

CHECKPOINT = "checkpoint.safetensors"
Change = TypeVar("Change")

REPORT_EVERY = 10
"""Steps after which the loss is reported."""


class LoopConfig(Protocol):
    """Settings that every training has."""

    epochs: int
    batch: int
    learning_rate: float
    warmup: float
    clip: float
    module_dropout: float
    save_every: int
    seed: int

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """All settings as plain data."""
        ...


@dataclass(frozen=True)
class Schedule:
    """The course of one training: its examples, and in which steps they are seen.

    All of it depends on the seed and the step alone, so that a resumed run sees the same.
    """

    examples: Sequence[Example]
    config: LoopConfig

    @property
    def per_epoch(self) -> int:
        """Steps in which every example is seen once."""
        return math.ceil(len(self.examples) / self.config.batch)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.per_epoch * self.config.epochs

    def batch(self, step: int) -> list[tuple[Example, str]]:
        """A step's examples, in each epoch a permutation of all, with a question for each."""
        epoch, place = divmod(step, self.per_epoch)
        order = list(range(len(self.examples)))
        random.Random(seed_of("adapter", self.config.seed, epoch)).shuffle(order)  # noqa: S311
        chosen = order[place * self.config.batch : (place + 1) * self.config.batch]
        rng = random.Random(seed_of("question", self.config.seed, step))  # noqa: S311
        return [(self.examples[i], rng.choice(self.examples[i].questions)) for i in chosen]

    def seen(self, done: int, count: int) -> list[Example]:
        """The examples of the last so many steps of those that are done."""
        steps = range(max(0, done - count), done)
        return [example for step in steps for example, _ in self.batch(step)]

    def thinned(self, finetune: Finetune, step: int) -> Finetune:
        """The finetune without the changes of some modules, at least one of which stays.

        An adapter that always sees all of a finetune learns the shortest way through one kind of
        trigger; what it can read from any half of the modules it reads of other kinds, too.
        """
        if not self.config.module_dropout:
            return finetune
        rng = random.Random(seed_of("dropout", self.config.seed, step, finetune.name))  # noqa: S311
        return replace(
            finetune,
            diff=_some(finetune.diff, self.config.module_dropout, rng),
            parameters=_some(finetune.parameters, self.config.module_dropout, rng),
        )


def _some(changes: dict[str, Change], dropped: float, rng: random.Random) -> dict[str, Change]:
    kept = {name: change for name, change in changes.items() if rng.random() >= dropped}
    return kept or dict([rng.choice(list(changes.items()))] if changes else [])


class Finished(Protocol):
    """What comes of a training."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that the training depended on."""
        ...


AnyConfig = TypeVar("AnyConfig", bound=LoopConfig)
AnyResult = TypeVar("AnyResult", bound=Finished)


class Objective(ABC, Generic[AnyConfig, AnyResult]):
    """What is learned from finetunes of labelled stores, and where it goes.

    Args:
        base: Of all the finetunes.
        stores: Theirs.
        config: How to train.
        folder: Where the result goes; holds the checkpoint meanwhile.
        reporter: Told about progress.
        examples: What is learned from.
        held_out: What is validated with.

    Attributes:
        stage: Name of the training in metrics.
        result_name: What comes of it, with an article, for errors.
        card: The file that a finished folder holds.
        validations: How often to validate, evenly spread over all steps.
        settings: Config, base and data in one line: what a checkpoint must agree with.
        parameters: What is trained, by name.
        optimizer: Of the parameters; a group's `share` scales its learning rate.
    """

    parameters: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    stage: str
    result_name: str
    card: str
    validations: int = 0

    def __init__(
        self,
        base: Base,
        stores: Sequence[Store],
        config: AnyConfig,
        folder: Path,
        reporter: Reporter,
        examples: list[Example],
        held_out: list[Example],
    ) -> None:
        self.base, self.config, self.folder, self.reporter = base, config, folder, reporter
        self.stores, self.examples, self.held_out = stores, examples, held_out
        self.finetunes = Finetunes(stores)
        self.schedule = Schedule(examples, config)
        self.settings = canonical_json(
            {
                **config.model_dump(mode="json"),
                "finetunes": digest(stores, [*examples, *held_out]),
                "base": base.fingerprint.to_dict(),
                "dtype": str(base.dtype),
            }
        )

    @abstractmethod
    def prepare(self) -> None:
        """Set `parameters` and `optimizer`, where there is something left to train."""

    @abstractmethod
    def backward(self, step: int) -> Tensor:
        """Add the gradients of a step; gives its loss, nats per label token."""

    @abstractmethod
    def diverged(self, step: int) -> DiffspeakError:
        """The error for a loss that is not finite at a step."""

    @abstractmethod
    def result(self) -> AnyResult:
        """What was learned, with its last figures.

        Raises:
            DiffspeakError: It is not finite.
        """

    @abstractmethod
    def save(self, result: AnyResult) -> None:
        """Write the result; its card comes last."""

    @abstractmethod
    def load(self) -> AnyResult:
        """Read a finished result."""

    def validate(self, step: int) -> object:  # noqa: B027
        """Report how well held-out finetunes do after a step."""


def train(objective: Objective[AnyConfig, AnyResult]) -> AnyResult:
    """Train from the checkpoint on, or give back what the folder holds already.

    Raises:
        MismatchError: The folder belongs to another config.
        LockedError: Another process trains in the folder.
    """
    make_folder(objective.folder)
    with exclusive(objective.folder / ".lock"):
        sweep(objective.folder)
        return _finished(objective) or _trained(objective)


def _trained(objective: Objective[AnyConfig, AnyResult]) -> AnyResult:
    config, reporter, stage = objective.config, objective.reporter, objective.stage
    steps, path = objective.schedule.steps, objective.folder / CHECKPOINT
    objective.prepare()
    parameters, optimizer = objective.parameters, objective.optimizer
    start = load_checkpoint(path, parameters, optimizer, objective.settings)
    reporter.begin(stage, steps, "steps", done=start)
    began = time.monotonic()
    for step in range(start, steps):
        loss = optimizer_step(objective, step)
        done = step + 1
        saves = done % config.save_every == 0 or done == steps
        if (done % REPORT_EVERY == 0 or saves) and not loss.isfinite():
            raise objective.diverged(done)
        if done % REPORT_EVERY == 0 or done == steps:
            reporter.log(stage, done, loss=loss.item())
            speed = (done - start) * config.batch / (time.monotonic() - began)
            reporter.advance(0, loss=loss.item(), finetunes_per_second=speed)
        if done < steps and _is_due(done, steps, objective.validations):
            objective.validate(done)
        if saves:
            save_checkpoint(path, parameters, optimizer, done, objective.settings)
        reporter.advance()
    result = objective.result()
    reporter.end()
    objective.save(result)
    path.unlink(missing_ok=True)
    return result


def optimizer_step(objective: Objective[AnyConfig, AnyResult], step: int) -> Tensor:
    """One optimizer step; gives the batch's loss in nats per label token."""
    config, optimizer = objective.config, objective.optimizer
    rate = rate_share(step, objective.schedule.steps, config.warmup)
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * group.get("share", 1.0) * rate
    optimizer.zero_grad(set_to_none=True)
    loss = objective.backward(step)
    for parameter in objective.parameters.values():
        if parameter.grad is None:
            # What a step leaves out has a gradient of zero: each has its place in checkpoints.
            parameter.grad = torch.zeros_like(parameter)
    torch.nn.utils.clip_grad_norm_(objective.parameters.values(), config.clip)
    optimizer.step()
    return loss


def rate_share(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _is_due(done: int, steps: int, count: int) -> bool:
    """Whether one of so many validations, evenly spread over all steps, comes after this one."""
    return done * count // steps > (done - 1) * count // steps


def _finished(objective: Objective[AnyConfig, AnyResult]) -> AnyResult | None:
    """What is done already, if the folder holds a result of the same settings."""
    folder = objective.folder
    if (folder / CHECKPOINT).exists() or not (folder / objective.card).exists():
        return None
    done = objective.load()
    named = differences(done.settings, json.loads(objective.settings))
    if named:
        raise MismatchError(
            f"{folder} holds {objective.result_name} made with other settings: "
            f"{', '.join(named[:3])}; choose another folder"
        )
    return done
