"""Groups taught side by side are those taught in turn, bit for bit; what breaks is told."""

import os
import signal
import time

import pytest
import torch
from torch import multiprocessing

from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.store import open_store
from diffspeak.training import DiffConfig, train_diffs, worker_pool
from tests.toys import Recorder, ToyBehavior, files_of

toy = ToyBehavior()
ITEMS = toy.items()
CONFIG = DiffConfig(steps=2, learning_rate=1e-2, tasks=2, probes=1, probe_tokens=2)


class Breaking(ToyBehavior):
    """Raises, or kills its process, when a certain item is to be learned."""

    def __init__(self, item, kill=False, error=RuntimeError):
        super().__init__()
        object.__setattr__(self, "item", item)
        object.__setattr__(self, "kill", kill)
        object.__setattr__(self, "error", error)

    def samples(self, item, step):
        if item.id == self.item and multiprocessing.parent_process() is not None:
            if self.kill:
                # Long enough for the other process to have told of its group.
                time.sleep(3)
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.error("no such samples")
        return super().samples(item, step)


@pytest.fixture(scope="module")
def in_turn(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("turn")
    train_diffs(base, toy, ITEMS, CONFIG, folder)
    return folder


@pytest.mark.slow
def test_several_processes_make_the_same_store(base, in_turn, tmp_path):
    reporter = Recorder()
    train_diffs(base, toy, ITEMS, CONFIG, tmp_path, reporter, processes=2)
    assert files_of(tmp_path) == files_of(in_turn)
    assert [numbers["loss"] for stage, _, numbers in reporter.logged if "loss" in numbers]
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_an_error_in_a_process_is_told_and_what_came_before_is_kept(base, in_turn, tmp_path):
    breaking = Breaking(ITEMS[2].id)
    with pytest.raises(DiffspeakError, match="no such samples"):
        train_diffs(base, breaking, ITEMS, CONFIG, tmp_path, processes=2)
    assert not multiprocessing.active_children()
    assert len(open_store(tmp_path)) in (0, 2)
    train_diffs(base, toy, ITEMS, CONFIG, tmp_path)
    assert files_of(tmp_path) == files_of(in_turn)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error, told", [(UsageError, "^no such samples$"), (ValueError, "Traceback")]
)
def test_what_a_user_can_mend_is_said_without_a_traceback(base, tmp_path, error, told):
    breaking = Breaking(ITEMS[0].id, error=error)
    with pytest.raises(DiffspeakError, match=told):
        train_diffs(base, breaking, ITEMS, CONFIG, tmp_path, processes=2)


@pytest.mark.slow
def test_a_killed_process_is_noticed(base, in_turn, tmp_path):
    breaking = Breaking(ITEMS[2].id, kill=True)
    with pytest.raises(DiffspeakError, match="exit code -9.*fewer processes"):
        train_diffs(base, breaking, ITEMS, CONFIG, tmp_path, processes=2)
    assert not multiprocessing.active_children()
    train_diffs(base, toy, ITEMS, CONFIG, tmp_path)
    assert files_of(tmp_path) == files_of(in_turn)


def test_as_many_as_there_are_cores_and_groups(base, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert [worker_pool.processes_for(base, groups) for groups in (0, 1, 3, 9)] == [1, 1, 3, 4]
    monkeypatch.setattr(worker_pool, "SMALL", 10)
    assert worker_pool.processes_for(base, 9) == 1


def test_full_finetunes_are_trained_in_one_process(base, tmp_path):
    config = CONFIG.model_copy(update={"parameters": "all"})
    with pytest.raises(UsageError, match="use one"):
        train_diffs(base, toy, ITEMS, config, tmp_path, processes=2)
