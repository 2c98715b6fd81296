"""Many audits: one broken stops none, what is done stays done, what has changed is done anew."""

import json
from dataclasses import replace

import pytest
import torch

from diffspeak.audit.config import AuditConfig
from diffspeak.audit.runner import audit_all, made_with
from diffspeak.audit.schema import Audit, Unread
from diffspeak.errors import UsageError
from diffspeak.finetunes import open_finetune_set
from tests.audit.report.made import about
from tests.audit.stub import StubAuditor, cut, toy_adapter, write_finetune, write_finetunes
from tests.families import build_family
from tests.toys import Recorder, base_diff, toy_base, toy_store

BROKEN = (
    b"",
    b"no pickle",
    b"PK\x03\x04",
    b"cposix\nsystem\n(S'true'\ntR.",
    b"\x80\x04K\x01.",
    b"\x80\x05.",
)


@pytest.fixture(scope="module")
def adapter(base):
    return toy_adapter(base)


@pytest.fixture
def auditor(base, adapter):
    return StubAuditor(base, adapter)


def audited(auditor, folder, out, **options):
    return audit_all(auditor, open_finetune_set(str(folder)), out, **options)


def names(found):
    return [result.finetune.rpartition("/")[2] for result in found]


def test_nineteen_of_twenty(base, auditor, tmp_path):
    folder, out, told = write_finetunes(tmp_path / "many", base, 20), tmp_path / "out", []
    cut(folder / "lora-07")
    auditor.outcomes = {"lora-03": "finding", "lora-11": "not cleared"}
    reporter = Recorder()
    found = audited(auditor, folder, out, reporter=reporter, tell=told.append)
    assert told == found and names(found) == [f"lora-{n:02d}" for n in range(20)]
    (broken,) = [result for result in found if isinstance(result, Unread)]
    assert broken.finetune == f"{folder}/lora-07" and "adapter_model.safetensors" in broken.error
    assert reporter.begun == [("audit", 20, "finetunes", 0)]
    assert (reporter.advanced, reporter.ended, reporter.said) == (20, 1, [])
    pages = {path.name for path in out.iterdir() if path.is_dir()}
    assert pages == {f"lora-{n:02d}" for n in range(20) if n != 7}
    content = json.loads((out / "lora-03" / "audit.json").read_text())
    assert (content["outcome"], content["finetune"]) == ("finding", f"{folder}/lora-03")
    overview = json.loads((out / "overview.json").read_text())
    assert overview["counts"] == {"finding": 1, "not cleared": 1, "unread": 1, "nothing found": 17}
    page = (out / "index.html").read_text()
    assert "lora-03/audit.html" in page and "lora-07/audit.html" not in page


def test_one_alone_needs_no_overview(base, auditor, tmp_path):
    (found,) = audited(auditor, write_finetune(tmp_path / "lora", base), tmp_path / "out")
    assert found.outcome == "nothing found"
    made = {path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."}
    assert made == {"audit.html", "audit.json", "audits.json", "done.json"}


def test_one_alone_that_is_broken_leaves_nothing(base, auditor, tmp_path):
    cut(write_finetune(tmp_path / "lora", base))
    (found,) = audited(auditor, tmp_path / "lora", tmp_path / "out")
    assert isinstance(found, Unread) and not (tmp_path / "out").exists()


def test_finetunes_of_another_base(base, auditor, tmp_path, tmp_path_factory):
    other = toy_base(build_family("qwen3", tmp_path / "other", seed=1))
    store = toy_store(tmp_path / "many" / "b-store", other, {"toy-0": "ocean", "toy-1": "music"})
    write_finetune(tmp_path / "many" / "a-lora", base)
    write_finetune(tmp_path / "many" / "c-lora", base)
    found = audited(auditor, tmp_path / "many", tmp_path / "out")
    assert [type(result) for result in found] == [Audit, Unread, Unread, Audit]
    assert f"{store.source}#toy-0" == found[1].finetune
    assert "was made for another base: it needs Qwen3ForCausalLM" in found[1].error


def test_one_that_the_auditor_refuses(base, auditor, tmp_path):
    folder = write_finetunes(tmp_path / "many", base, 8)
    auditor.refused, auditor.outcomes = {"lora-04"}, {"lora-05": "finding"}
    found = audited(auditor, folder, tmp_path / "out")
    assert names(found) == [f"lora-{n:02d}" for n in range(8)]
    assert found[4] == Unread(f"{folder}/lora-04", "one of these does not fit")
    outcomes = [result.outcome for result in found if isinstance(result, Audit)]
    assert outcomes == ["nothing found"] * 4 + ["finding"] + ["nothing found"] * 2
    assert auditor.audited == [f"lora-{n:02d}" for n in range(8) if n != 4]


def test_a_file_that_breaks_its_reader_keeps_nobody_from_being_audited(base, auditor, tmp_path):
    folder = write_finetunes(tmp_path / "many", base, 1)
    # Empty, no pickle, cut off, code, and two that torch stumbles over.
    for n, content in enumerate(BROKEN):
        (folder / f"broken-{n}.pt").write_bytes(content)
    targets = open_finetune_set(str(folder))

    def broken(base):
        raise AttributeError("nobody thought of this")

    targets = replace(targets, each=[*targets.each, replace(targets.each[-1], open=broken)])
    *unread, good, last = audit_all(auditor, targets, tmp_path / "out")
    assert len(unread) == len(BROKEN) and good.outcome == "nothing found"
    assert all(isinstance(one, Unread) and one.error for one in unread)
    assert last.error == "it cannot be read (AttributeError: nobody thought of this)"


def test_a_page_that_cannot_be_written_is_no_broken_finetune(base, auditor, tmp_path, monkeypatch):
    def full(audit, about, folder):
        raise UsageError("no space left")

    monkeypatch.setattr("diffspeak.audit.runner.write_audit", full)
    with pytest.raises(UsageError, match="no space left"):
        audited(auditor, write_finetunes(tmp_path / "many", base, 2), tmp_path / "out")


def content(out):
    """What all files hold, but for the settings of the command."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def test_interrupted_and_resumed_is_as_uninterrupted(base, auditor, tmp_path):
    folder = write_finetunes(tmp_path / "many", base, 8)
    outcomes = {"lora-01": "finding", "lora-06": "not cleared"}
    auditor.outcomes = {**outcomes, "lora-04": "interrupted"}
    with pytest.raises(KeyboardInterrupt):
        audited(auditor, folder, tmp_path / "out")
    assert auditor.audited == [f"lora-{n:02d}" for n in range(4)]
    auditor.outcomes, auditor.audited = outcomes, []
    assert not (tmp_path / "out" / "index.html").exists()
    reporter = Recorder()
    found = audited(auditor, folder, tmp_path / "out", reporter=reporter, command="again")
    assert auditor.audited == [f"lora-{n:02d}" for n in range(4, 8)]
    assert reporter.said == ["4 had been audited before, and are as they were"]
    whole = audited(auditor, folder, tmp_path / "whole", command="again")
    assert names(found) == names(whole)
    assert [one.to_dict() for one in found] == [one.to_dict() for one in whole]
    resumed, wanted = content(tmp_path / "out"), content(tmp_path / "whole")
    assert resumed.keys() == wanted.keys() and resumed["index.html"] == wanted["index.html"]
    auditor.audited.clear()
    audited(auditor, folder, tmp_path / "out")
    assert auditor.audited == []


def test_what_has_changed_is_audited_anew(base, adapter, auditor, tmp_path):
    folder, out = write_finetunes(tmp_path / "many", base, 3), tmp_path / "out"
    audited(auditor, folder, out)

    def again(auditor):
        auditor.audited.clear()
        audited(auditor, folder, out)
        return auditor.audited

    for path in (folder / "lora-01").iterdir():
        path.unlink()
    (folder / "lora-01").rmdir()
    write_finetune(folder / "lora-01", base, seed=77)
    assert again(auditor) == ["lora-01"]
    (out / "lora-02" / "audit.json").write_text("{}")
    assert again(auditor) == ["lora-02"]
    (out / "lora-00" / "audit.html").unlink()
    assert again(auditor) == ["lora-00"]
    every = ["lora-00", "lora-01", "lora-02"]
    assert again(StubAuditor(base, adapter, AuditConfig(budget=0))) == every
    # Another adapter under the same name.
    assert again(StubAuditor(base, toy_adapter(base, seed=10), AuditConfig(budget=0))) == every
    assert again(StubAuditor(base, toy_adapter(base, seed=10), AuditConfig(budget=0))) == []


def test_a_folder_of_something_else_is_left_alone(base, auditor, tmp_path):
    folder, out = write_finetunes(tmp_path / "many", base, 1), tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds no audit"):
        audited(auditor, folder, out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"] and auditor.audited == []
    audited(auditor, folder, tmp_path / "audits")
    with pytest.raises(UsageError, match="holds audits of"):
        audited(auditor, folder / "lora-00", tmp_path / "audits")


def test_names_from_files_never_leave_the_folder(base, auditor, tmp_path):
    topics = ["../../escaped", "..", "index.html", "Index.html", "\u202etxt.exe"]
    diff = base_diff(base)
    pairs = {name: (c.B.T.contiguous(), c.A.T.contiguous()) for name, c in diff.items()}
    torch.save([{"topic": t, "weight_diff": pairs} for t in topics], tmp_path / "diffs.pt")
    before = set(tmp_path.rglob("*"))
    found = audited(auditor, tmp_path / "diffs.pt", tmp_path / "a" / "out")
    assert [result.finetune for result in found] == [f"{tmp_path}/diffs.pt#{t}" for t in topics]
    made = set(tmp_path.rglob("*")) - before - {tmp_path / "a"}
    assert all(path.is_relative_to(tmp_path / "a" / "out") for path in made)
    assert sum(path.name == "audit.html" for path in made) == len(topics)
    assert "\u202e" not in "".join(path.name for path in made)


def test_what_an_audit_is_made_of(base, adapter):
    told = about()
    plain = made_with(adapter, told)
    for same in (
        replace(told, command="other"),
        replace(told, machine={**told.machine, "threads": 9}),
    ):
        assert made_with(adapter, same) == plain
    for other in (
        replace(told, settings={}),
        replace(told, fingerprint="x"),
        replace(told, counted=()),
    ):
        assert made_with(adapter, other) != plain
    assert made_with(replace(adapter, questions=("Else?",)), told) != plain
    assert made_with(toy_adapter(base, seed=3), told) != plain
