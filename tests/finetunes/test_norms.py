"""Norms of changes, against dense ones, and their picture."""

import pytest
import torch

from diffspeak.errors import UsageError
from diffspeak.finetunes import Finetune
from diffspeak.finetunes.norms import (
    gathered,
    mean_norms,
    norms_of,
    norms_of_diff,
    plot_norms,
    total_norm,
)
from diffspeak.lora import LowRank
from diffspeak.models import load_base, plain_tensors


def change(seed, scaling=1.5):
    generator = torch.Generator().manual_seed(seed)
    return LowRank(
        torch.randn(3, 8, generator=generator), torch.randn(6, 3, generator=generator), scaling
    )


def test_a_norm_is_that_of_the_dense_change():
    low = change(1, -0.7)
    assert float(low.norm()) == pytest.approx(float(low.dense().norm()), rel=1e-5)
    stacked = LowRank(torch.stack([low.A, 2 * low.A]), torch.stack([low.B, low.B]), -0.7)
    assert stacked.norm().tolist() == pytest.approx([float(low.norm()), 2 * float(low.norm())])


def test_norms_stand_by_linear_and_block():
    diff = {f"model.layers.{n}.mlp.up_proj": change(n) for n in range(12)} | {"head": change(99)}
    grid = norms_of_diff(diff)
    assert list(grid["mlp.up_proj"]) == list(range(12)) and list(grid["head"]) == [-1]
    assert grid["mlp.up_proj"][11] == pytest.approx(float(change(11).dense().norm()), rel=1e-5)


def test_a_whole_finetune_is_compared_with_its_base(tiny):
    base = load_base(tiny, dtype="float32", device="cpu")
    name = "model.layers.1.mlp.up_proj.weight"
    own = plain_tensors(base.model)
    more = torch.zeros_like(own[name])
    more[0, 0] = 3.0
    parameters = {name: own[name] + more, "model.norm.weight": own["model.norm.weight"] + 1}
    assert norms_of(Finetune("x", parameters=parameters), base) == {
        "mlp.up_proj": {1: pytest.approx(3.0, rel=1e-5)}
    }


def test_the_mean_is_a_root_of_squares_in_which_what_lacks_is_zero():
    mean = mean_norms([{"a": {0: 3.0, 1: 1.0}}, {"a": {0: 4.0}}])
    assert mean == {"a": {0: pytest.approx((25 / 2) ** 0.5), 1: pytest.approx(0.5**0.5)}}


def test_a_tied_matrix_counts_once(tiny):
    base = load_base(tiny, dtype="float32", device="cpu")
    base.model.lm_head.weight = base.model.model.embed_tokens.weight
    names = ("model.embed_tokens.weight", "lm_head.weight")
    more = plain_tensors(base.model)[names[0]] + 1
    norms = norms_of(Finetune("x", parameters=dict.fromkeys(names, more)), base)
    assert norms == {"model.embed_tokens": {-1: pytest.approx(more.numel() ** 0.5)}}


def test_numbered_linears_become_one_and_the_total_stays():
    grid = {"mlp.experts.0.up": {0: 3.0}, "mlp.experts.17.up": {0: 4.0, 2: 1.0}, "q4": {0: 2.0}}
    assert gathered(grid) == {"mlp.experts.*.up": {0: 5.0, 2: 1.0}, "q4": {0: 2.0}}
    assert total_norm(grid) == total_norm(gathered(grid)) == pytest.approx(30**0.5)


def test_a_picture_is_drawn(tmp_path):
    grid = norms_of_diff({f"model.layers.{n}.mlp.up_proj": change(n) for n in range(40)})
    plot_norms(tmp_path / "norms.png", {"one": grid, "two": {"head": {-1: 1.0}}})
    assert (tmp_path / "norms.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["norms.png"]


def test_a_picture_holds_no_time_and_its_name_no_formula(tmp_path):
    for name in ("one.svg", "two.svg"):
        plot_norms(tmp_path / name, {"runs/$x$_{": {"head": {0: 1.0}}})
    assert b"<dc:date>" not in (tmp_path / "one.svg").read_bytes()
    with pytest.raises(UsageError, match=r"n.pdf is no picture: .*\.png or \.svg"):
        plot_norms(tmp_path / "n.pdf", {"one": {"head": {0: 1.0}}})
    assert len(list(tmp_path.iterdir())) == 2
