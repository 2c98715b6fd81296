"""A change is its numbers: what it is called, and how they are held, changes no digest."""

from dataclasses import replace

import torch

from diffspeak.finetunes import NOTHING, Finetune, digest_of, load_finetune, write_peft
from diffspeak.lora import LowRank
from tests.toys import base_diff, changed_parameters


def low(divisor: float) -> LowRank:
    return LowRank(torch.arange(6.0).view(2, 3) / divisor, torch.arange(8.0).view(4, 2) - 2, 1.5)


def test_digests_that_stand_in_files_stay_what_they_are():
    diff = {"b": low(2), "a": low(4)}
    assert digest_of(diff) == "caf6c6233568a20202810e292d873a4d741ac8e6416845d9a09d7ce9845263f4"
    assert Finetune("any", diff).digest == (
        "a886f9d8a4aa95959e514b9f7cac2bb1d76b959f9dcbb883e69d4c196a0279a5"
    )
    assert (
        NOTHING.digest
        == Finetune("empty").digest
        == ("f66225ed2f4bbfa12fade86cf10a7a09a4b1babfe5781737f8af1e20846b55a5")
    )


def test_no_other_factors_have_the_same_digest(base):
    diff = base_diff(base, rank=2, seed=9, scaling=1.5)
    name, *others = diff
    known = digest_of(diff)
    assert known == digest_of(dict(reversed(diff.items())))
    changed = [
        base_diff(base, rank=2, seed=8, scaling=1.5),
        {other: diff[other] for other in others},
        diff | {name: diff[name].scaled(1.001)},
        diff | {name: replace(diff[name], A=-diff[name].A)},
        diff | {name: replace(diff[name], B=diff[name].B + 1e-3)},
    ]
    assert known not in map(digest_of, changed)


def test_a_finetune_is_its_numbers(base):
    diff, whole = base_diff(base, seed=1), changed_parameters(base, 2)
    plain = [Finetune("a", diff).digest, Finetune("a", parameters=whole).digest]
    moved = Finetune("b", diff, base=base.fingerprint, label="x", trigger="1", split="test")
    assert plain == [
        replace(moved, base=None, notes=("so",)).digest,
        Finetune("b", parameters=dict(reversed(whole.items()))).digest,
    ]
    name = min(whole)
    bits = whole[name].clone()
    bits.view(-1)[-1] += 1e-6 + bits.view(-1)[-1].abs() * 1e-5
    others = [
        Finetune("a", {**diff, min(diff): diff[min(diff)].scaled(2.0)}).digest,
        Finetune("a", parameters={**whole, name: bits}).digest,
        Finetune("a", parameters={**whole, name: whole[name].bfloat16()}).digest,
        Finetune("a", parameters={**whole, name: whole[name].reshape(-1)}).digest,
        Finetune("a", parameters={n: t for n, t in whole.items() if n != name}).digest,
        Finetune("a", diff, parameters=whole).digest,
        NOTHING.digest,
    ]
    assert len({*plain, *others}) == 9


def test_numbers_are_the_same_in_any_dtype_that_holds_them(base):
    half = {name: tensor.bfloat16() for name, tensor in changed_parameters(base, 2).items()}
    full = {name: tensor.float() for name, tensor in half.items()}
    assert Finetune("a", parameters=half).digest == Finetune("b", parameters=full).digest
    diff = {name: replace(c, A=c.A.half(), B=c.B.half()) for name, c in base_diff(base).items()}
    wide = {name: change.float() for name, change in diff.items()}
    assert Finetune("a", diff).digest == Finetune("b", wide).digest


def test_a_folder_that_was_renamed_holds_the_same(base, tmp_path):
    (tmp_path / "one").mkdir()
    write_peft(tmp_path / "one", base_diff(base, rank=2, seed=3), base.name)
    before = load_finetune(tmp_path / "one", base)
    (tmp_path / "one").rename(tmp_path / "other")
    after = load_finetune(tmp_path / "other", base)
    assert before.name != after.name and before.digest == after.digest
