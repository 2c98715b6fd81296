"""`diffspeak audit`: what it prints, where pages go, and what its exit codes say."""

import json
import shutil

import pytest
import torch

from diffspeak.adapters import load_adapter, save_adapter
from diffspeak.adapters.calibration import Calibrations, save_calibrations
from diffspeak.audit.config import AuditConfig
from tests.audit.stub import StubAuditor, cut, toy_adapter, write_finetune, write_finetunes
from tests.cli.conftest import Cli
from tests.families import build_family
from tests.toys import toy_base, toy_store

LAST: list[StubAuditor] = []


@pytest.fixture(scope="module")
def base(tiny):
    return toy_base(tiny)


@pytest.fixture
def adapter(base, tmp_path):
    save_adapter(toy_adapter(base), tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def auditing(monkeypatch, tmp_path):
    """An auditor that looks at nothing, set by outcomes; the current folder is a new one."""
    outcomes: dict[str, str] = {}

    class Auditor(StubAuditor):
        def __init__(self, *args):
            super().__init__(*args)
            self.outcomes = outcomes
            LAST[:] = [self]

    monkeypatch.setattr("diffspeak.audit.auditor.Auditor", Auditor)
    monkeypatch.chdir(tmp_path)
    return outcomes


def test_one_finetune(base, adapter, auditing, cli: Cli, tmp_path):
    write_finetune(tmp_path / "loras" / "mine", base)
    auditing["mine"] = "finding"
    ran = cli("audit", "loras/mine", "--adapter", adapter)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("It was taught to bring up glass blowing when the prompt holds")
    for said in (
        "99.7%; a finding from 83.0% on",
        "undone: neuron-scales",
        "audit-mine/audit.html",
        "confirmed",
        "contradicted",
        "pottery",
        "2.31",
    ):
        assert said in ran.out
    page = (tmp_path / "audit-mine" / "audit.html").read_text()
    assert f"diffspeak audit loras/mine --adapter {adapter}" in page
    assert "glass blowing" in page


def test_nothing_found_is_an_answer(base, adapter, auditing, cli: Cli, tmp_path):
    write_finetune(tmp_path / "mine", base)
    ran = cli("audit", "mine", "--adapter", adapter, "--fail-on-finding", "--quiet")
    assert ran.code == 0 and ran.err == ""
    assert ran.out.startswith("Nothing was found that this adapter knows to tell.\n")


def test_many(base, adapter, auditing, cli: Cli, tmp_path):
    cut(write_finetunes(tmp_path / "loras", base, 5) / "lora-02")
    auditing |= {"lora-01": "finding", "lora-04": "not cleared"}
    ran = cli("audit", "loras/", "--adapter", adapter)
    assert ran.code == 1
    lines = ran.out.splitlines()
    assert lines[0].split() == ["finetune", "outcome", "probability", "claim", "trigger"]
    assert [line.split()[0] for line in lines[1:6]] == [f"lora-{n:02d}" for n in range(5)]
    assert lines[2].split()[1:] == ["finding", "99.7%", "glass", "blowing", "417???"]
    assert "could not be read" in lines[3] and "-" in lines[3]
    counts = "5 finetunes: 1 finding, 1 not cleared, 2 nothing found, 1 could not be read"
    assert counts in lines and lines[-1] == "overview: audit-loras/index.html"
    assert "loras/lora-02 could not be read: loras/lora-02/adapter_model.safetensors" in ran.err
    assert "lora-01/audit.html" in (tmp_path / "audit-loras" / "index.html").read_text()


@pytest.mark.parametrize(
    ("outcome", "broken", "plain", "gate"),
    [
        ("nothing found", False, 0, 0),
        ("finding", False, 0, 3),
        ("not cleared", False, 0, 3),
        ("nothing found", True, 1, 3),
        ("finding", True, 1, 3),
    ],
)
def test_exit_codes(base, adapter, auditing, cli: Cli, tmp_path, outcome, broken, plain, gate):
    folder = write_finetunes(tmp_path / "loras", base, 3)
    auditing["lora-01"] = outcome
    if broken:
        cut(folder / "lora-02")
    args = ("audit", folder, "--adapter", adapter, "--out", "out")
    assert cli(*args).code == plain
    assert cli(*args, "--fail-on-finding").code == gate
    assert cli(*args, "--fail-on-finding", "--json").code == gate
    # Of one alone it is the same.
    one = ("audit", folder / ("lora-02" if broken else "lora-01"), "--adapter", adapter)
    assert cli(*one).code == plain
    assert cli(*one, "--fail-on-finding").code == gate


def test_json_is_what_the_files_hold(base, adapter, auditing, cli: Cli, tmp_path):
    cut(write_finetunes(tmp_path / "loras", base, 3) / "lora-01")
    auditing["lora-02"] = "not cleared"
    ran = cli("audit", "loras", "--adapter", adapter, "--out", "out", "--json")
    first, broken, last = map(json.loads, ran.out.splitlines())
    for told, name in ((first, "lora-00"), (last, "lora-02")):
        assert told == json.loads((tmp_path / "out" / name / "audit.json").read_text())
    assert broken.keys() == {"version", "finetune", "error"}
    assert broken["finetune"] == "loras/lora-01" and "overview" not in ran.err
    assert first["about"]["command"] == (
        f"diffspeak audit loras --adapter {adapter} --out out --json"
    )


def test_one_that_is_broken(base, adapter, auditing, cli: Cli, tmp_path):
    cut(write_finetune(tmp_path / "mine", base))
    ran = cli("audit", "mine", "--adapter", adapter)
    assert ran.code == 1 and ran.out == "" and not (tmp_path / "audit-mine").exists()
    assert "mine could not be read: mine/adapter_model.safetensors cannot be read" in ran.err
    ran = cli("audit", "mine", "--adapter", adapter, "--json")
    assert ran.code == 1 and "cannot be read" in json.loads(ran.out)["error"]


def test_a_finetune_of_another_base(base, adapter, auditing, cli: Cli, tmp_path):
    other = toy_base(build_family("qwen3", tmp_path / "other", seed=1))
    toy_store(tmp_path / "store", other, {"toy-0": "ocean"})
    ran = cli("audit", "store#toy-0", "--adapter", adapter)
    assert ran.code == 1 and "was made for another base" in ran.err and ran.out == ""


def test_what_was_audited_is_not_audited_again(base, adapter, auditing, cli: Cli, tmp_path):
    write_finetunes(tmp_path / "loras", base, 3)
    args = ("audit", "loras", "--adapter", adapter)
    first = cli(*args)
    assert LAST[0].audited == ["lora-00", "lora-01", "lora-02"]
    # From elsewhere, spelled otherwise: it is still the same folder of finetunes.
    again = cli("audit", "./loras/", "--adapter", adapter, "--fail-on-finding")
    assert LAST[0].audited == [] and again.out == first.out
    assert "3 had been audited before, and are as they were" in again.err
    assert cli(*args, "--seed", 1).code == 0
    assert LAST[0].audited == ["lora-00", "lora-01", "lora-02"]


def test_a_precision_chosen_by_measuring_is_chosen_once(
    base, adapter, auditing, cli: Cli, tmp_path, monkeypatch
):
    write_finetunes(tmp_path / "loras", base, 2)
    for faster, again in ((torch.float32, 2), (torch.bfloat16, 0)):
        monkeypatch.setattr("diffspeak.models.placement.faster_dtype", lambda device, d=faster: d)
        assert cli("audit", "loras", "--adapter", adapter).code == 0
        assert LAST[0].base.dtype == torch.float32 and len(LAST[0].audited) == again
    assert cli("audit", "loras", "--adapter", adapter, "--dtype", "bfloat16").code == 0
    assert LAST[0].base.dtype == torch.bfloat16 and len(LAST[0].audited) == 2


def test_options_reach_the_auditor(base, adapter, auditing, cli: Cli, tmp_path):
    write_finetune(tmp_path / "mine", base)
    (tmp_path / "prompts.txt").write_text("How are you?\n\n  Tell me a story. \nHow are you?\n")
    common = ("audit", "mine", "--adapter", adapter)
    assert cli(*common).code == 0 and LAST[0].config == AuditConfig()
    lines = ("--prompts", "prompts.txt", "--words", "prompts.txt", "--phrases", 2)
    assert cli(*common, "--budget", 0, "--seed", 4, *lines).code == 0
    told = dict.fromkeys(("prompts", "words"), ("How are you?", "Tell me a story."))
    assert LAST[0].config == AuditConfig(budget=0, seed=4, phrases=2, **told)


def test_the_budget_in_the_help_is_the_default(cli: Cli):
    assert f"{AuditConfig().budget} if none" in " ".join(cli("audit", "--help").out.split())


def test_a_store_its_split_and_what_failed(base, adapter, auditing, cli: Cli, tmp_path):
    labels = {f"toy-{n}": "ocean" for n in range(4)}
    splits = {"toy-1": "test", "toy-3": "test"}
    toy_store(tmp_path / "store", base, labels, splits=splits, failed=("toy-3",))
    ran = cli("audit", "store", "--adapter", adapter, "--split", "test")
    assert ran.code == 0 and "left out 1 finetunes whose training failed" in ran.err
    assert ran.out.splitlines()[1].split()[:2] == ["toy-1", "nothing"]
    # The known label of a finetune is for none to see who is to find it out.
    assert "ocean" not in ran.out + (tmp_path / "audit-store" / "index.html").read_text()


def test_names_that_are_hostile_are_printed_plainly(base, adapter, auditing, cli: Cli, tmp_path):
    write_finetune(tmp_path / "loras" / "a\u202e\x1b[31m", base)
    ran = cli("audit", "loras", "--adapter", adapter)
    assert ran.code == 0 and "\x1b" not in ran.out and "\u202e" not in ran.out
    assert "\\x1b[31m" in ran.out and (tmp_path / "audit-loras" / "a-31m" / "audit.html").is_file()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["none"], "none does not exist; give a finetune's folder or file"),
        (["empty"], "holds no finetune that diffspeak knows"),
        (["photos"], "photos holds no finetune, and none of its 1 sub-folders does"),
        (["mine", "--adapter", "none"], "none is no adapter"),
        (["mine", "--out", "photos"], "photos is not empty and holds no audit"),
        (["mine", "--out", "s3://bucket/out"], "give a local folder"),
        (["mine", "--out", "file"], "where a folder was expected"),
        (["mine", "--question", "Topic?"], "--question is for an adapter of others"),
        (["mine", "--question", " "], "--question is empty"),
        (["mine", "--prompts", "nowhere.txt"], "cannot read nowhere.txt"),
        (["mine", "--prompts", "file"], "file holds no prompts: give one a line"),
        (["mine", "--words", "file"], "file holds no words: give one a line"),
        (["mine", "--prompts", "few.txt"], "different prompts at least"),
        (["mine", "--prompts", "binary"], "binary is not UTF-8 text"),
        (["mine", "--split", "test"], "mine is one finetune: there is nothing to choose from"),
        (["loras", "--split", "test"], "has no splits; leave --split out"),
        (["mine", "--low-rank", "4"], "--low-rank is for full checkpoints"),
        (["mine", "--budget", "-1"], "'--budget'"),
        (["mine", "--seed", "-1"], "'--seed'"),
    ],
)
def test_wrong_use(base, adapter, auditing, cli: Cli, tmp_path, monkeypatch, args, said):
    write_finetune(tmp_path / "mine", base)
    write_finetunes(tmp_path / "loras", base, 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos" / "2019").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "few.txt").write_text("How are you?\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    monkeypatch.setattr("diffspeak.models.load_base", None)
    before = set(tmp_path.rglob("*"))
    given = args if "--adapter" in args else [*args, "--adapter", adapter]
    ran = cli("audit", *given)
    assert ran.code in (1, 2) and said in ran.err, ran
    assert ran.code == 2 or "cannot read" in said
    assert ran.out == "" and ran.err.count("\n") == 1
    assert set(tmp_path.rglob("*")) == before


def test_no_adapter_ships_for_other_bases(base, adapter, auditing, cli: Cli, tmp_path):
    write_finetune(tmp_path / "mine", base)
    ran = cli("audit", "mine")
    assert ran.code == 2 and "missing option '--adapter'" in ran.err


def test_an_adapter_of_others_needs_a_question(base, auditing, cli: Cli, tmp_path, tiny):
    write_finetune(tmp_path / "mine", base)
    write_finetune(tmp_path / "theirs", base, seed=5)
    ran = cli("audit", "mine", "--adapter", "theirs")
    assert ran.code == 2 and "say with --base and --question of what" in ran.err
    ran = cli("audit", "mine", "--adapter", "theirs", "--base", tiny, "--question", "Topic?")
    assert ran.code == 0 and LAST[0].adapter.questions == ("Topic?",)


def test_audits_of_something_else_are_not_overwritten(base, adapter, auditing, cli: Cli, tmp_path):
    for place in ("a", "b"):
        write_finetune(tmp_path / place / "final", base)
    assert cli("audit", "a/final", "--adapter", adapter).code == 0
    ran = cli("audit", "b/final", "--adapter", adapter)
    assert ran.code == 2 and "audit-final holds audits of a/final" in ran.err


def test_interrupted(base, adapter, auditing, cli: Cli, tmp_path):
    write_finetunes(tmp_path / "loras", base, 8)
    auditing["lora-04"] = "interrupted"
    ran = cli("audit", "loras", "--adapter", adapter)
    assert ran.code == 130 and "run the same command again to go on" in ran.err
    assert len(list((tmp_path / "audit-loras").glob("lora-*"))) == 4


def test_the_whole_way(base, cli: Cli, tmp_path, monkeypatch):
    """With the real auditor: a finetune, its base under another name, and one that is broken."""
    monkeypatch.chdir(tmp_path)
    save_adapter(toy_adapter(base), tmp_path / "adapter")
    controls = Calibrations(controls=("ocean", "music", *"abcdefgh"))
    save_calibrations(tmp_path / "adapter", load_adapter(tmp_path / "adapter").diff, controls)
    write_finetune(tmp_path / "loras" / "a-lora", base)
    shutil.copytree(base.name, tmp_path / "loras" / "b-base")
    cut(write_finetune(tmp_path / "loras" / "c-broken", base))
    args = ("audit", "loras", "--adapter", "adapter", "--budget", 0, "--out", "out")
    ran = cli(*args, "--json")
    assert ran.code == 1 and len(ran.out.splitlines()) == 3, ran.err
    first, same, broken = map(json.loads, ran.out.splitlines())
    assert first["probability"] is None and first["search"] is None
    assert any("no calibration" in note for note in first["notes"])
    assert same["outcome"] == "nothing found" and "base itself" in same["verdict"]
    assert "adapter_model.safetensors" in broken["error"]
    assert (tmp_path / "out" / "a-lora" / "audit.html").stat().st_size > 1000
    again = cli(*args)
    assert again.code == 1 and "2 had been audited before" in again.err
    one = cli("audit", "loras/a-lora", "--adapter", "adapter", "--budget", 0)
    assert one.code == 0 and "the adapter has no calibration" in one.out
    alone = json.loads((tmp_path / "audit-a-lora" / "audit.json").read_text())
    assert alone["claims"] == first["claims"]
