"""Tensors on disk: bytes, rows and checksums."""

import pytest
import torch
from safetensors.torch import load_file

from diffspeak.store.tensors import (
    ShardTensors,
    factors_sum,
    file_sum,
    header_sum,
    load_full,
    save_tensors,
)


@pytest.fixture
def path(tmp_path):
    """A shard of two modules and three rows."""
    source = torch.Generator().manual_seed(0)
    shapes = {"b.A": (3, 1, 4), "b.B": (3, 2, 1), "a.A": (3, 1, 2), "a.B": (3, 5, 1)}
    save_tensors(
        tmp_path / "x", {name: torch.randn(*s, generator=source) for name, s in shapes.items()}
    )
    return tmp_path / "x"


def test_saved_tensors_come_back_whatever_their_layout(tmp_path):
    tensor = torch.arange(6.0).reshape(2, 3).requires_grad_()
    given = {"t": tensor.T, "same": tensor, "part": tensor[1:], "again": tensor}
    save_tensors(tmp_path / "x", given)
    found = load_file(tmp_path / "x")
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], given[name]) for name in given)


def test_equal_tensors_give_equal_bytes_in_any_order(tmp_path):
    given = {"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.bfloat16)}
    save_tensors(tmp_path / "x", given)
    save_tensors(tmp_path / "y", dict(reversed(given.items())))
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_a_row_is_a_slice_of_its_own(path):
    whole = load_file(path)
    shard = ShardTensors(path)
    for row in range(3):
        found = shard.row(row)
        assert list(found) == ["a", "b"]
        for module, (A, B) in found.items():
            assert torch.equal(A, whole[f"{module}.A"][row])
            assert torch.equal(B, whole[f"{module}.B"][row])
            A.zero_()
    assert torch.equal(shard.row(1)["a"][0], whole["a.A"][1])
    with pytest.raises(ValueError):
        shard.row(3)


@pytest.mark.parametrize(
    "change",
    [
        lambda A, B: {"n": (A, B)},
        lambda A, B: {"m": (A.reshape(4, 2), B)},
        lambda A, B: {"m": (A.view(torch.int32), B)},
        lambda A, B: {"m": (A, -B)},
        lambda A, B: {"m": (B, A)},
        lambda A, B: {},
    ],
    ids=["name", "shape", "type", "sign of zero", "sides", "nothing"],
)
def test_the_checksum_covers_name_type_shape_and_bytes(change):
    A, B = torch.arange(8.0).reshape(2, 4), torch.zeros(3, 2)
    assert factors_sum({"m": (A, B)}) == factors_sum({"m": (A.T.contiguous().T, B.clone())})
    assert factors_sum(change(A, B)) != factors_sum({"m": (A, B)})


def test_bfloat16_and_empty_factors_have_checksums():
    half = torch.ones(2, 2, dtype=torch.bfloat16)
    assert factors_sum({"m": (half, half)}) != factors_sum({"m": (half.float(), half.float())})
    assert factors_sum({"m": (torch.zeros(0, 4), torch.zeros(3, 0))}) != factors_sum({})


def test_header_and_file_sums_see_what_they_cover(path):
    header, whole = header_sum(path), file_sum(path)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert header_sum(path) == header
    assert file_sum(path) != whole
    path.write_bytes(data[:10] + bytes([data[10] ^ 1]) + data[11:])
    assert header_sum(path) != header


@pytest.mark.parametrize("length", [0, 5, 8, 40, -1])
def test_a_cut_off_file_is_a_value_error(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError):
        ShardTensors(path)
    with pytest.raises(ValueError):
        load_full(path)


def test_what_the_system_refuses_is_an_os_error_with_its_number(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_tensors(tmp_path / "missing" / "x", {"a": torch.ones(1)})
