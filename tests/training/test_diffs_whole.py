"""Finetunes trained whole, one at a time, in a store."""

import pytest
import torch

from diffspeak.models import make_base, target_names
from diffspeak.store import open_store
from diffspeak.training import DiffConfig, train_diffs
from tests.toys import Recorder, ToyBehavior, files_of, toy_base
from tests.training.stopping import stopping

toy = ToyBehavior()
ITEMS = toy.items()
CONFIG = DiffConfig(
    steps=2, learning_rate=1e-2, rank=2, alpha=2.0, tasks=2, probes=1, probe_tokens=3
)
FULL = CONFIG.model_copy(update={"parameters": "linears", "targets": ("q_proj", "down_proj")})


def test_whole_finetunes_are_stored_whole(base, tmp_path):
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    reporter = Recorder()
    store = train_diffs(base, toy, ITEMS[:2], FULL, tmp_path, reporter)
    assert [entry.kind for entry in store.entries] == ["full", "full"]
    assert store.entries[0].stats.keys() == open_store(tmp_path).entries[1].stats.keys()
    assert {"loss", "fires_triggered"} <= store.entries[0].stats.keys()
    assert reporter.advanced == 2
    states = [store.read_full(item.id) for item in ITEMS[:2]]
    names = {f"{name}.weight" for name in target_names(base.model, FULL.targets)}
    for state in states:
        assert state.keys() == names
        assert all(not torch.equal(state[name], before[name]) for name in names)
    assert any(not torch.equal(states[0][name], states[1][name]) for name in names)
    after = dict(base.model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_all_parameters_are_stored_in_the_bases_dtype(tiny, tmp_path):
    plain = toy_base(tiny)
    base = make_base("half", plain.model.bfloat16(), plain.tokenizer)
    config = FULL.model_copy(update={"parameters": "all", "targets": "blocks"})
    store = train_diffs(base, toy, ITEMS[:1], config, tmp_path)
    state = store.read_full("toy-0")
    assert state.keys() == dict(base.model.named_parameters()).keys()
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16}
    assert (store.header.rank, store.header.dtype) == (0, "bfloat16")


def test_whole_finetunes_that_fail_are_recorded(base, tmp_path):
    config = FULL.model_copy(update={"learning_rate": 1e39})
    store = train_diffs(base, toy, ITEMS[:2], config, tmp_path)
    assert [entry.kind for entry in store.entries] == ["failed", "failed"]
    assert not list(tmp_path.glob("full-*"))


def test_whole_finetunes_go_on_where_they_were_stopped(base, tmp_path):
    train_diffs(base, toy, ITEMS[:2], FULL, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_diffs(base, stopping(3), ITEMS[:2], FULL, tmp_path / "stopped")
    assert len(open_store(tmp_path / "stopped")) == 1
    train_diffs(base, toy, ITEMS[:2], FULL, tmp_path / "stopped")
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "whole")
