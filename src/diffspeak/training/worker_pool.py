"""Several processes that teach groups side by side, each with a share of the processor's cores.

A small model's pass is over before many threads have shared it out, so one thread each in several
processes does more. The base's weights are shared memory; what a group becomes is what it would
become in this process with as many threads.
"""

import os
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any

import numpy as np
import torch
from torch import Tensor, multiprocessing

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.errors import DiffspeakError
from diffspeak.lora import Diff, LowRank
from diffspeak.memory import keep_freed_memory
from diffspeak.models import Base, attach_to
from diffspeak.training.config import DiffConfig
from diffspeak.training.group import OnStep, TrainedGroup, teach

FactorArrays = dict[str, tuple[np.ndarray, np.ndarray, float]]

SMALL = 20_000_000
"""Parameters of a base of which several copies' work fits side by side, and gains by it."""

LOOK = 1.0
"""Seconds between looks at whether all processes still live."""


def processes_for(base: Base, groups: int) -> int:
    """How many processes pay: one for each core, if the base is small and on the CPU."""
    small = sum(p.numel() for p in base.model.parameters()) <= SMALL
    if base.device.type != "cpu" or not small:
        return 1
    return max(1, min(torch.get_num_threads(), groups))


def teach_all(
    base: Base,
    behavior: Behavior,
    groups: Sequence[Sequence[FinetuneSpec]],
    config: DiffConfig,
    processes: int,
    threads: int,
    on_step: OnStep,
) -> Iterator[TrainedGroup]:
    """Teach groups in several processes, and give each in its turn.

    Args:
        base: On the CPU, nothing attached.
        behavior: What is taught.
        groups: Items of each group.
        config: How.
        processes: How many.
        threads: Of each of them.
        on_step: Told about every step of every group.

    Raises:
        DiffspeakError: A process failed or was killed. Groups given before are good.
    """
    context = multiprocessing.get_context("spawn")
    todo, told = context.Queue(), context.Queue()
    for job in [*enumerate(groups), *[None] * processes]:
        todo.put(job)
    arguments = (base, behavior, config, threads, todo, told)
    workers = []
    try:
        for _ in range(processes):
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            workers.append(process)
        yield from _in_order(len(groups), _messages(workers, told), on_step)
    finally:
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()


def _in_order(
    count: int, messages: Iterator[tuple[Any, ...]], on_step: OnStep
) -> Iterator[TrainedGroup]:
    done: dict[int, TrainedGroup] = {}
    for number in range(count):
        while number not in done:
            kind, which, *rest = next(messages)
            if kind == "step":
                step, losses = rest
                on_step(step, torch.tensor(losses))
            elif kind == "done":
                factors, losses, failed_at, rates = rest
                done[which] = TrainedGroup(losses, failed_at, _as_tensors(factors), rates)
            else:
                raise DiffspeakError(which)
        yield done.pop(number)


def _messages(workers: Sequence[Any], told: Any) -> Iterator[tuple[Any, ...]]:
    """What the processes say, for as long as they live."""
    while True:
        with suppress(Empty):
            yield told.get(timeout=LOOK)
            continue
        codes = {process.exitcode for process in workers} - {None, 0}
        if codes:
            raise DiffspeakError(
                f"a training process ended with exit code {codes.pop()}, perhaps for lack of "
                "memory; what is stored is good: run it again with fewer processes (--processes)"
            )


def _work(
    base: Base, behavior: Behavior, config: DiffConfig, threads: int, todo: Any, told: Any
) -> None:
    """What one process does: take a group, teach it, tell, until none is left."""
    # The terminal's interrupt goes to all; the process that gives out work ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    keep_freed_memory()
    try:
        attachment = attach_to(base.model, config.targets)
        while (job := todo.get()) is not None:
            number, items = job

            def on_step(step: int, losses: Tensor, number: int = number) -> None:
                _end_with_parent()
                told.put(("step", number, step, losses.tolist()))

            group = teach(base, attachment, behavior, items, config, on_step)
            factors = _as_arrays(group.diff)
            told.put(("done", number, factors, group.losses, group.failed_at, group.rates))
    except Exception as error:
        # What a user can mend is said in a line; anything else is our own mistake.
        mendable = isinstance(error, DiffspeakError)
        text = str(error) if mendable else f"a training process failed:\n{traceback.format_exc()}"
        told.put(("failed", text))
        # The message is sent by a thread: it must be out before this process ends.
        told.close()
        told.join_thread()
        time.sleep(LOOK)


def _end_with_parent() -> None:
    """Leave no process behind whose parent was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def _as_arrays(diff: Diff) -> FactorArrays:
    """FactorArrays as arrays: tensors would be sent as open files."""
    return {
        name: (change.A.numpy(), change.B.numpy(), change.scaling) for name, change in diff.items()
    }


def _as_tensors(factors: FactorArrays) -> Diff:
    return {
        name: LowRank(torch.from_numpy(a), torch.from_numpy(b), scaling)
        for name, (a, b, scaling) in factors.items()
    }
