"""Tensors on disk: bytes, rows and checksums."""

import json
import os
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffspeak.store.tensors import (
    ShardTensors,
    TensorFile,
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


def kinds():
    """A tensor of each type and of odd shapes."""
    given = {str(d): torch.ones(2, 3).to(d) for d in (torch.float64, torch.bfloat16, torch.int8)}
    given |= {"f8": torch.ones(4).to(torch.float8_e4m3fn), "bool": torch.tensor([True, False])}
    return given | {"scalar": torch.tensor(3.0), "none": torch.zeros(0, 4)}


def test_a_file_is_read_tensor_by_tensor_into_memory_of_its_own(tmp_path):
    save_file(kinds(), tmp_path / "x", metadata={"made": "here"})
    file = TensorFile(tmp_path / "x")
    assert sorted(file.names) == sorted(kinds()) and file.metadata == {"made": "here"}
    for name, tensor in kinds().items():
        assert file.read(name).dtype == tensor.dtype and file.read(name).shape == tensor.shape
        assert file.read(name).tolist() == tensor.tolist()
    file.read("scalar").zero_()
    assert file.read("scalar") == 3
    with pytest.raises(ValueError, match="lacking"):
        file.read("lacking")


def test_a_file_that_is_cut_off_while_it_is_read_is_an_error_and_not_the_end(tmp_path):
    """The system would end this process if the file were mapped."""
    save_file({name: torch.ones(100, 100) for name in "abcd"}, tmp_path / "x")
    file = TensorFile(tmp_path / "x")
    os.truncate(tmp_path / "x", 50_000)
    assert file.read("a").sum() == 10_000
    with pytest.raises(ValueError, match="d from file"):
        file.read("d")


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "header",
    [
        {"a": entry([8], 0, 32), "b": entry([12], 16, 64)},
        {"a": entry([4], 0, 16), "b": entry([8], 32, 64)},
        {"a": entry([8], 0, 32)},
        {"a": entry([17], 0, 68)},
        {"a": entry([15], 0, 64)},
        {"a": entry([-16], 0, 64)},
        {"a": entry([2**62, 4], 0, 64)},
        {"a": entry([0, 2**63], 0, 0), "b": entry([16], 0, 64)},
        {"a": entry([16], 0, 64, "X32")},
        {"__metadata__": {"a": 1}, "a": entry([16], 0, 64)},
        [1],
        "a",
    ],
    ids=repr,
)
def test_a_header_that_does_not_add_up_is_an_error(tmp_path, header):
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    with pytest.raises(ValueError):
        load_full(tmp_path / "x")


@pytest.mark.parametrize(
    "content",
    [b"", b"123", bytes(8), struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 10**8) + b"{}"],
)
def test_what_has_no_header_is_an_error(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    for read in (TensorFile, load_full, ShardTensors):
        with pytest.raises(ValueError):
            read(tmp_path / "x")


@pytest.mark.timeout(20)
def test_nobody_waits_for_a_pipe_or_reads_a_device_to_its_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for read in (TensorFile, load_full, ShardTensors, header_sum):
        with pytest.raises((ValueError, OSError)):
            read(tmp_path / "pipe")
        with pytest.raises((ValueError, OSError), match="not a file"):
            read(tmp_path / "zero")
    with pytest.raises(ValueError, match="not a file"):
        TensorFile(tmp_path)
    with pytest.raises(FileNotFoundError):
        TensorFile(tmp_path / "none")
