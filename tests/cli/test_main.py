"""Arguments, exit codes, and what is said of errors."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from diffspeak.cli.errors import report
from diffspeak.errors import DiffspeakError, UsageError

VERBS = (
    "demo",
    "diffs",
    "adapter",
    "describe",
    "audit",
    "calibrate",
    "show",
    "convert",
    "corpus",
    "fetch",
    "plan",
    "run",
)


@pytest.mark.parametrize(
    ("args", "code", "out", "err"),
    [
        ([], 0, "Usage: diffspeak", ""),
        (["--help"], 0, "Commands:", ""),
        (["-h"], 0, "Commands:", ""),
        (["--version"], 0, "diffspeak 0.", ""),
        (["bogus"], 2, "", "diffspeak: No such command 'bogus'"),
        (["--bogus"], 2, "", "diffspeak: No such option: --bogus"),
        (["--quiet"], 2, "", "diffspeak: Missing command"),
        (["diffs"], 2, "", "Missing argument 'CONFIG' (see diffspeak diffs --help)"),
        (["diffs", "none.toml"], 2, "", "'--out'"),
        (["diffs", "none.toml", "--out", "x"], 2, "", "cannot read the config none.toml"),
        (["adapter", "none.toml", "--out", "x"], 2, "", "'--store'"),
        (["describe", "x"], 2, "", "x does not exist; give a finetune's folder or file"),
        (["describe", "."], 2, "", "holds no finetune that diffspeak knows"),
        (["describe", "x", "--adapter", "none"], 2, "", "none is no adapter"),
        (["describe", "x", "--adapter", "y", "--split", "odd"], 2, "", "'odd' is not one of"),
        (["describe", "x", "--adapter", "y", "--limit", "0"], 2, "", "'--limit'"),
        (["describe", "x", "--adapter", "y", "--temperature", "inf"], 2, "", "finite"),
        (["describe", "x", "--temperature", "1e-300"], 2, "", "1e-300: expected 0, or 0.001"),
        (["show", "none"], 2, "", "diffspeak: none does not exist"),
        (["show", "none#id"], 2, "", "cannot open none"),
        (["run", "none.toml", "--out", "x"], 2, "", "none.toml"),
        ([""], 2, "", "what follows 'diffspeak' is empty: give a value"),
        (["describe", ""], 2, "", "what follows 'describe' is empty"),
        (["audit", ""], 2, "", "what follows 'audit' is empty"),
        (["show", ""], 2, "", "what follows 'show' is empty"),
        (["convert", "", "x", "--to", "peft"], 2, "", "what follows 'convert' is empty"),
        (["convert", "x", "", "--to", "peft"], 2, "", "what follows 'x' is empty"),
        (["describe", "x", "--adapter", ""], 2, "", "--adapter is empty: give a value, or leave"),
        (["describe", "x", "--base="], 2, "", "--base is empty: give a value, or leave it out"),
        (["describe", "x", "--question", ""], 2, "", "--question is empty"),
        (["diffs", "none.toml", "--out", ""], 2, "", "--out is empty"),
        (["diffs", "none.toml", "--out", "x", "--set", "a.b="], 2, "", "cannot read the config"),
    ],
)
def test_what_is_typed_and_what_is_said(cli, tmp_path, monkeypatch, args, code, out, err):
    monkeypatch.chdir(tmp_path)
    ran = cli(*args)
    assert ran.code == code, ran
    assert out in ran.out and err in ran.err, ran
    if err:
        assert ran.out == "" and ran.err.count("\n") == 1 and ran.err.startswith("diffspeak: ")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_in_80_columns(cli, verb):
    ran = cli(verb, "-h")
    assert ran.code == 0 and "Example:" in ran.out and f"diffspeak {verb} " in ran.out
    assert ran.out.isascii() and max(map(len, ran.out.splitlines())) <= 90


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys; from diffspeak.cli import main; main(['--help']); main(['--version']);"
        "heavy = {'torch', 'transformers', 'peft', 'matplotlib', 'pydantic.main'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DiffspeakError("it broke"), 1, "diffspeak: it broke\n"),
        (UsageError("mistyped"), 2, "diffspeak: mistyped\n"),
        (KeyboardInterrupt(), 130, "diffspeak: stopped; run the same command again to go on\n"),
        (
            ValueError("two\nlines"),
            1,
            "diffspeak: unexpected ValueError: two lines; run again with --debug to see where\n",
        ),
        (OSError("x" * 1000), 1, f"diffspeak: unexpected OSError: {'x' * 400}...; run again"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            1,
            "diffspeak: no space left to write: free some space and run the same command again\n",
        ),
        (SystemExit(3), 3, ""),
        (SystemExit("why"), 1, ""),
    ],
)
def test_each_error_has_one_line_and_a_code(capsys, error, code, said):
    assert report(error, debug=False) == code
    told = capsys.readouterr().err
    assert told.startswith(said) and "Traceback" not in told


@pytest.mark.parametrize("place", ["before", "behind"])
def test_debug_shows_the_traceback(cli, tmp_path, place):
    verb = ["show", str(tmp_path / "none")]
    ran = cli(*(["--debug", *verb] if place == "before" else [*verb, "--debug"]))
    assert ran.code == 2 and "Traceback" in ran.err and "does not exist" in ran.err
    assert "Traceback" not in cli(*verb).err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "diffspeak: stopped; run the same command again to go on\n"),
        (RuntimeError("why"), 1, "diffspeak: unexpected RuntimeError: why; run again with --debug"),
        (MemoryError(), 1, "diffspeak: unexpected MemoryError"),
    ],
)
def test_what_a_verb_raises_is_told_in_one_line(cli, monkeypatch, error, code, said):
    def fail(source):
        raise error

    monkeypatch.setattr("diffspeak.cli.show.facts_of", fail)
    ran = cli("show", "x")
    assert ran.code == code and ran.err.startswith(said), ran
    assert ran.out == "" and ran.err.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error():
    program = subprocess.Popen(
        [sys.executable, "-m", "diffspeak", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert program.stdout is not None and program.stderr is not None
    program.stdout.close()
    said = program.stderr.read()
    program.stderr.close()
    assert program.wait() == 1 and said == b""


def test_the_installed_program_is_this_one():
    program = Path(sys.executable).with_name("diffspeak")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("diffspeak ")
