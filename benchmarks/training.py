"""Training finetunes and adapters, timed: each contender's steps on the same samples."""

import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch

from benchmarks import flops, published, with_peft
from benchmarks.describing import asked_tokens, peft_folders
from benchmarks.job import Result
from benchmarks.stand import ADAPTER_RANK, Stand, random_store
from benchmarks.work import QUESTION, RandomTalk
from diffspeak.models import attach_to
from diffspeak.text.seeds import seed_of
from diffspeak.training import AdapterConfig, train_adapter, train_group
from diffspeak.training.worker_pool import teach_all

LEARNING_RATE = 1e-4


def diffs_ours(stand: Stand) -> Result:
    """A group of finetunes at once."""
    items, losses = stand.talk.items(), []

    def on_step(_: int, loss: torch.Tensor) -> None:
        stand.clock.tick()
        losses.append(loss.sum())

    attachment = attach_to(stand.base.model)
    train_group(stand.base, attachment, stand.talk, items, stand.diff_config, on_step)
    return _diffs_result(stand, stand.job.tasks, [loss.item() for loss in losses])


def diffs_crew(stand: Stand) -> Result:
    """As many groups as there are cores, a process each."""
    job, arrived = stand.job, [[] for _ in range(stand.steps)]
    count = torch.get_num_threads()
    talk = RandomTalk(stand.shape, count * job.tasks)
    items = talk.items()
    groups = [items[start : start + job.tasks] for start in range(0, len(items), job.tasks)]

    def on_step(step: int, _losses: torch.Tensor) -> None:
        arrived[step].append(time.perf_counter())

    for _ in teach_all(stand.base, talk, groups, stand.diff_config, count, 1, on_step):
        pass
    stand.clock.times = [mean(times) for times in arrived]
    # What was before the first step is not timed.
    stand.clock.warm_up = job.warm_up - 1
    result = _diffs_result(stand, count * job.tasks, [])
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return replace(result, peak_bytes=result.peak_bytes + count * children)


def diffs_published(stand: Stand) -> Result:
    """A group of finetunes, the published way."""
    job, items, losses = stand.job, stand.talk.items(), []
    # The same first values as ours, so that the losses can be compared.
    seeds = [seed_of("diff", stand.diff_config.seed, item.id) for item in items]
    diff = {
        name: change.trainable(job.device) for name, change in stand.fresh(job.rank, seeds).items()
    }
    trainer = published.DiffTrainer(stand.base, diff, stand.diff_config)
    for step in range(stand.steps):
        losses.append(trainer.step([stand.talk.samples(item, step) for item in items]).sum().item())
        stand.clock.tick()
    return _diffs_result(stand, job.tasks, losses)


def diffs_peft(stand: Stand) -> Result:
    """One finetune alone."""
    (item, *_), losses = stand.talk.items(), []
    trainer = with_peft.DiffTrainer(stand.base, stand.diff_config)
    for step in range(stand.steps):
        losses.append(trainer.step(stand.talk.samples(item, step)).item())
        stand.clock.tick()
    return _diffs_result(stand, 1, losses)


def _diffs_result(stand: Stand, tasks: int, losses: Sequence[float]) -> Result:
    operations = flops.diff_training(stand.shape, tasks, stand.job.rank)
    return stand.result(3 * tasks * stand.shape.tokens, operations, tasks, losses)


def adapter_ours(stand: Stand) -> Result:
    """An adapter on a store of random finetunes."""
    job = stand.job
    config = AdapterConfig(
        rank=ADAPTER_RANK,
        alpha=float(ADAPTER_RANK),
        batch=job.tasks,
        epochs=stand.steps,
        warmup=0.0,
        learning_rate=LEARNING_RATE,
        validation=0,
        save_every=1 << 20,
        answer_tokens=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        store, _ = random_store(stand, Path(folder) / "store", job.tasks)
        train_adapter(stand.base, [store], config, Path(folder) / "adapter", stand.clock)
    return _adapter_result(stand)


def adapter_published(stand: Stand) -> Result:
    """An adapter, the published way."""
    job = stand.job
    stack = stand.fresh(job.rank, range(job.tasks), random=True)
    finetunes = {name: change.to(job.device) for name, change in stack.items()}
    labels = [stand.talk.label(n) for n in range(job.tasks)]
    trainer = published.AdapterTrainer(stand.base, stand.adapter_factors(), LEARNING_RATE)
    losses = []
    for _ in range(stand.steps):
        losses.append(trainer.step(finetunes, QUESTION, labels).item())
        stand.clock.tick()
    return _adapter_result(stand, losses)


def adapter_peft(stand: Stand) -> Result:
    """An adapter beside one finetune after the other."""
    job = stand.job
    labels = [stand.talk.label(n) for n in range(job.tasks)]
    with peft_folders(stand) as (folders, _):
        trainer = with_peft.AdapterTrainer(stand.base, folders, ADAPTER_RANK, LEARNING_RATE)
        for _ in range(stand.steps):
            trainer.step(QUESTION, labels)
            stand.clock.tick()
    return _adapter_result(stand)


def _adapter_result(stand: Stand, losses: Sequence[float] = ()) -> Result:
    job = stand.job
    operations = flops.adapter_training(stand.shape, job.tasks, job.rank, ADAPTER_RANK)
    return stand.result(
        job.tasks * (asked_tokens() + stand.shape.answer), operations, job.tasks, losses
    )
