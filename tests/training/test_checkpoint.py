"""A checkpoint gives back the very state it was made from, or says why not."""

import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError
from diffspeak.store import tensors as store_tensors
from diffspeak.training import checkpoint as module
from diffspeak.training.checkpoint import load_checkpoint, save_checkpoint

SETTINGS = json.dumps({"rank": 2, "base": {"other": "abc"}})


def trainable():
    parameters = {
        "a.A": torch.zeros(2, 3, requires_grad=True),
        "a.B": torch.zeros(4, 2, requires_grad=True),
    }
    return parameters, torch.optim.AdamW(parameters.values(), lr=0.1, fused=True)


def step(parameters, optimizer, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters.values():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


@pytest.fixture
def saved(tmp_path):
    """Two steps made and saved: (path, parameters, optimizer)."""
    parameters, optimizer = trainable()
    step(parameters, optimizer, 1)
    step(parameters, optimizer, 2)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, parameters, optimizer, 2, SETTINGS)
    return path, parameters, optimizer


def test_training_goes_on_as_if_nothing_had_been(saved):
    path, parameters, optimizer = saved
    others, again = trainable()
    assert load_checkpoint(path, others, again, SETTINGS) == 2
    for _ in range(3):
        step(parameters, optimizer, 3)
        step(others, again, 3)
    assert all(torch.equal(parameters[name], others[name]) for name in parameters)


def test_without_a_checkpoint_nothing_is_done(tmp_path):
    parameters, optimizer = trainable()
    assert load_checkpoint(tmp_path / "none", parameters, optimizer, SETTINGS) == 0
    assert not optimizer.state


@pytest.mark.parametrize(
    "other, named", [({"rank": 3}, "rank"), ({"base": {"other": "x"}}, r"base\.other")]
)
def test_other_settings_are_refused_by_name(saved, other, named):
    parameters, optimizer = trainable()
    settings = json.dumps(json.loads(SETTINGS) | other)
    with pytest.raises(MismatchError, match=f"other settings.*{named}"):
        load_checkpoint(saved[0], parameters, optimizer, settings)
    assert not any(parameter.any() for parameter in parameters.values())


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_one_that_was_cut_off(saved, share):
    whole = saved[0].read_bytes()
    saved[0].write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CorruptFileError, match="cannot be read.*delete it to start anew"):
        load_checkpoint(saved[0], *trainable(), SETTINGS)


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"step": "2"},
        {"settings": SETTINGS},
        {"step": "two", "settings": SETTINGS},
        {"step": "2", "settings": "{"},
        {"step": "2", "settings": "[]"},
    ],
)
def test_one_that_lacks_what_it_must_say(saved, metadata):
    save_file(load_file(saved[0]), saved[0], metadata=metadata)
    with pytest.raises(CorruptFileError, match="delete it to start anew"):
        load_checkpoint(saved[0], *trainable(), SETTINGS)


@pytest.mark.parametrize("name", ["a.A", "a.B/exp_avg", "a.A/step"])
@pytest.mark.parametrize("wrong", ["missing", "another shape"])
def test_one_that_lacks_a_tensor(saved, name, wrong):
    tensors = load_file(saved[0])
    if wrong == "missing":
        del tensors[name]
    else:
        tensors[name] = torch.zeros(9, 9)
    save_file(tensors, saved[0], metadata={"step": "2", "settings": SETTINGS})
    with pytest.raises(CorruptFileError, match="delete it to start anew"):
        load_checkpoint(saved[0], *trainable(), SETTINGS)


def test_a_full_disk_is_said_and_leaves_the_old_one(saved, monkeypatch):
    path, parameters, optimizer = saved
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    for place in (module, store_tensors):
        monkeypatch.setattr(place, "save_file", full, raising=False)
    with pytest.raises(DiffspeakError, match="no space left.*run the same command again"):
        save_checkpoint(path, parameters, optimizer, 3, SETTINGS)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]
