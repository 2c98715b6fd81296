"""Whatever one finetune raises is its own result: the base is as it was, the others are audited."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffspeak.audit.auditor import Auditor
from diffspeak.audit.runner import audit_all
from diffspeak.audit.schema import Audit, Unread
from diffspeak.errors import CorruptFileError, DiffspeakError
from diffspeak.finetunes import Finetune, open_finetune_set
from diffspeak.lora import DiffLinear
from tests.audit.auditing import FEW, assert_alike, random_finetune
from tests.audit.stub import StubAuditor, end, toy_adapter, write_finetunes
from tests.toys import changed_parameters

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\n 20.00 GiB."),
    MemoryError(),
    torch.linalg.LinAlgError("linalg.svd: the algorithm failed to converge"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RecursionError("maximum recursion depth exceeded"),
    AssertionError(),
    UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed"),
    CorruptFileError("one of these is broken"),
]


class Failing(StubAuditor):
    """Fails on one finetune, and on all that it is read with."""

    error: BaseException
    at = "lora-04"

    def _one(self, finetune):
        if end(finetune) == self.at:
            raise self.error
        return super()._one(finetune)


@pytest.fixture
def failing(base):
    return Failing(base, toy_adapter(base))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_others_are_audited_whatever_is_raised(base, failing, tmp_path, error):
    failing.error, failing.outcomes = error, {"lora-05": "finding", "lora-07": "not cleared"}
    folder = write_finetunes(tmp_path / "many", base, 8)
    found = audit_all(failing, open_finetune_set(str(folder)), tmp_path / "out")
    (broken,) = [result for result in found if isinstance(result, Unread)]
    assert broken is found[4] and broken.finetune == f"{folder}/lora-04"
    assert "\n" not in broken.error
    mine = isinstance(error, DiffspeakError)
    said = str(error) if mine else f"its audit failed ({type(error).__name__}: "
    assert broken.error.startswith(said)
    outcomes = [result.outcome for result in found if isinstance(result, Audit)]
    assert outcomes == ["nothing found"] * 4 + ["finding", "nothing found", "not cleared"]
    assert sorted(failing.audited) == [f"lora-{n:02d}" for n in range(8) if n != 4]
    assert "lora-04" in (tmp_path / "out" / "index.html").read_text()


def test_what_stops_the_user_stops_all(base, failing, tmp_path):
    failing.error = KeyboardInterrupt()
    folder = write_finetunes(tmp_path / "many", base, 6)
    with pytest.raises(KeyboardInterrupt):
        audit_all(failing, open_finetune_set(str(folder)), tmp_path / "out")


def test_the_memory_of_what_failed_is_free_before_the_others_are_audited(base, tmp_path):
    """Otherwise one that takes too much memory takes it from its neighbors, too."""
    held = []

    class Watched:
        def __del__(self):
            held.remove(self.number)

        def __init__(self, number):
            self.number = number
            held.append(number)

    class Greedy(StubAuditor):
        def _one(self, finetune):
            large = Watched(len(held))
            if end(finetune) == "lora-01":
                raise MemoryError
            assert held == [large.number]
            return super()._one(finetune)

    folder = write_finetunes(tmp_path / "many", base, 3)
    auditor = Greedy(base, toy_adapter(base))
    found = audit_all(auditor, open_finetune_set(str(folder)), tmp_path / "out")
    assert [type(one) for one in found] == [Audit, Unread, Audit] and held == []


def test_a_page_that_one_finetune_spoils_is_its_own_result(base, tmp_path, monkeypatch):
    from diffspeak.audit import runner

    write = runner.write_audit

    def spoiled(audit, about, folder):
        if audit.finetune.endswith("lora-01"):
            raise ZeroDivisionError("of its norms")
        write(audit, about, folder)

    monkeypatch.setattr(runner, "write_audit", spoiled)
    folder = write_finetunes(tmp_path / "many", base, 3)
    auditor = StubAuditor(base, toy_adapter(base))
    found = audit_all(auditor, open_finetune_set(str(folder)), tmp_path / "out")
    assert [type(one) for one in found] == [Audit, Unread, Audit]
    assert found[1].error == "its page could not be made (ZeroDivisionError: of its norms)"


def test_what_breaks_when_it_is_opened_holds_nothing_of_its_file(base, tmp_path, monkeypatch):
    from diffspeak.finetunes import open as module

    def fail(source, **options):
        content = bytes(1000)
        raise KeyError(len(content))

    folder = write_finetunes(tmp_path / "many", base, 2)
    with monkeypatch.context() as patch:
        patch.setattr(module, "open_source", fail)
        targets = open_finetune_set(str(folder))
    with pytest.raises(DiffspeakError) as caught:
        targets.each[0].read(base)
    assert str(caught.value) == "it cannot be read (KeyError: 1000)"
    assert caught.value.__context__ is None and caught.value.__cause__ is None


class OutOfMemory(TorchDispatchMode):
    """Refuses memory at the n-th thing that is computed."""

    def __init__(self, at):
        super().__init__()
        self.left = at

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.left -= 1
        if self.left < 0:
            raise torch.OutOfMemoryError("there is no more")
        return function(*args, **(kwargs or {}))


def state_of(base):
    """Modules, hooks and parameters of a base, and where their numbers are."""
    model = base.model
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return (
        {name: type(module) for name, module in model.named_modules()},
        hooks,
        {n: (p.data_ptr(), p.detach().clone()) for n, p in model.named_parameters()},
        {n: b.clone() for n, b in model.named_buffers()},
    )


def assert_same(one, other):
    assert one[:2] == other[:2] and DiffLinear not in one[0].values()
    assert {n: place for n, (place, _) in one[2].items()} == {
        n: place for n, (place, _) in other[2].items()
    }
    assert all(torch.equal(one[2][name][1], other[2][name][1]) for name in one[2])
    assert all(torch.equal(one[3][name], other[3][name]) for name in one[3])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["low rank", "whole"])
def test_memory_that_runs_out_anywhere_leaves_the_base_as_it_was(base, adapter, kind):
    """And what is audited afterwards comes out as if nothing had happened."""
    config = FEW.model_copy(update={"align": False, "budget": 60})
    other, before = random_finetune(base, seed=5), state_of(base)
    alone = Auditor(base, adapter, config).audit(other)
    finetune = random_finetune(base)
    if kind == "whole":
        finetune = Finetune("whole", parameters=changed_parameters(base, 3))
    with OutOfMemory(10**9) as whole:
        Auditor(base, adapter, config).audit(finetune)
    computed = 10**9 - whole.left
    for share in (0.0005, 0.02, 0.1, 0.4, 0.7, 0.95):
        # A new auditor each time: what it keeps of the base it would not compute again.
        auditor = Auditor(base, adapter, config)
        with pytest.raises(torch.OutOfMemoryError), OutOfMemory(int(share * computed)):
            auditor.audit(finetune)
        assert_same(state_of(base), before)
        assert_alike(replace(auditor.audit(other), seconds={}), alone)
