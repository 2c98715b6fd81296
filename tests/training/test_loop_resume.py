"""Adapter training goes on bit for bit, or says why it does not."""

import pytest

from diffspeak.errors import (
    CorruptFileError,
    LockedError,
    MismatchError,
)
from diffspeak.io.files import exclusive
from diffspeak.training import train_adapter
from diffspeak.training.loop import CHECKPOINT
from tests.toys import Recorder, files_of, toy_store
from tests.training.runs import CONFIG, STEPS, Stops, attached, changed

OTHERS = [
    ({"rank": 3}, "rank"),
    ({"learning_rate": 0.5}, "learning_rate"),
    ({"epochs": 9}, "epochs"),
    ({"shuffle_labels": True}, "shuffle_labels"),
]


@pytest.mark.parametrize("at, start", [(3, 0), (5, 5), (9, 5), (12, 12)])
def test_interrupted_and_resumed_is_uninterrupted(base, store, done, tmp_path, at, start):
    with pytest.raises(KeyboardInterrupt):
        train_adapter(base, [store], CONFIG, tmp_path, Stops(at))
    assert not attached(base)
    assert (tmp_path / CHECKPOINT).exists() == bool(start)
    reporter = Recorder()
    train_adapter(base, [store], CONFIG, tmp_path, reporter)
    assert reporter.begun == [("adapter", STEPS, "steps", start)]
    assert reporter.advanced == STEPS - start
    assert files_of(tmp_path) == files_of(done[0])


@pytest.fixture
def halfway(base, store, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_adapter(base, [store], CONFIG, tmp_path / "half", Stops(6))
    return tmp_path / "half"


def test_a_checkpoint_of_other_settings_is_refused(base, store, halfway):
    before = files_of(halfway)
    for change, named in OTHERS:
        with pytest.raises(MismatchError, match=f"other settings.*{named}"):
            train_adapter(base, [store], changed(**change), halfway)
    assert files_of(halfway) == before
    assert not attached(base)


def test_a_corrupt_checkpoint_says_what_to_do(base, store, halfway):
    (halfway / CHECKPOINT).write_bytes((halfway / CHECKPOINT).read_bytes()[:1000])
    with pytest.raises(CorruptFileError, match="delete it to start anew"):
        train_adapter(base, [store], CONFIG, halfway)


def test_a_finished_adapter_is_not_trained_again(base, store, done):
    before = files_of(done[0])
    adapter = train_adapter(base, [store], CONFIG, done[0], Stops(1))
    assert adapter.results == done[1].results
    assert files_of(done[0]) == before
    for change, named in OTHERS:
        with pytest.raises(MismatchError, match=f"other settings.*{named}"):
            train_adapter(base, [store], changed(**change), done[0])
    assert files_of(done[0]) == before


def test_other_finetunes_under_the_same_names_are_other_data(base, store, done, halfway, tmp_path):
    labels = {e.id: e.label for e in store.entries}
    other = toy_store(
        tmp_path / "other", base, labels, seed=5, splits={"toy-5": "validation"}, failed=["toy-6"]
    )
    for folder in (done[0], halfway):
        with pytest.raises(MismatchError, match="finetunes"):
            train_adapter(base, [other], CONFIG, folder)


def test_a_second_training_in_the_folder_is_refused(base, store, tmp_path):
    with exclusive(tmp_path / ".lock"), pytest.raises(LockedError, match="is being written"):
        train_adapter(base, [store], CONFIG, tmp_path)
    assert not attached(base)
