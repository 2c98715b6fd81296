"""A disk without space, at every writer: one line, nothing half under a final name, and again.

The system itself refuses: files of a process that is allowed no larger ones.
"""

import os
import resource
from pathlib import Path

import pytest
import torch

from diffspeak.adapters import Adapter, save_adapter
from diffspeak.audit.report import write_audit
from diffspeak.errors import DiffspeakError
from diffspeak.finetunes import Finetune, to_peft, to_published, to_store
from diffspeak.finetunes.export import write_merged
from diffspeak.finetunes.norms import norms_of_diff, plot_norms
from diffspeak.io.files import append_json, write_text
from diffspeak.io.runs import Run, plot_losses, read_metrics
from diffspeak.models import write_small
from diffspeak.models.pocket import export_base
from diffspeak.training.checkpoint import load_checkpoint, save_checkpoint
from tests.audit.report.made import about, finding
from tests.toys import base_diff, toy_base

LARGEST = 500
"""Bytes that a file may have in the child."""


@pytest.fixture(scope="module")
def base(tiny):
    return toy_base(tiny)


def finetunes(base, count=3):
    return [Finetune(f"many#{n}", base_diff(base, seed=n), label=str(n)) for n in range(count)]


def text(base, folder):
    write_text(folder / "text", "x" * 10 * LARGEST)


def checkpoint(base, folder):
    parameters = {"a": torch.zeros(20, 20, requires_grad=True)}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1)
    parameters["a"].grad = torch.ones(20, 20)
    optimizer.step()
    save_checkpoint(folder / "checkpoint", parameters, optimizer, 1, "{}")
    assert load_checkpoint(folder / "checkpoint", parameters, optimizer, "{}") == 1


def adapter(base, folder):
    made = Adapter(base_diff(base), base.fingerprint, base.name, ("Q?",), ("toy",), {}, {})
    save_adapter(made, folder / "adapter")


def peft(base, folder):
    to_peft(finetunes(base), folder / "peft", base, many=True)


def published(base, folder):
    to_published(finetunes(base), folder / "published")


def store(base, folder):
    behavior = {"name": "toy", "questions": ["Q?"]}
    to_store(finetunes(base), folder / "store", base, behavior)


def merged(base, folder):
    write_merged(base, finetunes(base)[0], {}, folder / "merged")


def small(base, folder):
    write_small(base.model.config, folder / "small")


def export(base, folder):
    export_base(folder / "export")


def page(base, folder):
    write_audit(finding(), about(), folder)


def norms(base, folder):
    plot_norms(folder / "norms.png", {"x": norms_of_diff(base_diff(base))})


def losses(base, folder):
    with Run(folder / "run", {}) as run:
        if not read_metrics(folder / "run"):
            run.log(stage="x", step=1, loss=1.0)
    plot_losses(folder / "run")


def lines(base, folder):
    append_json(folder / "lines", [{"x": "y" * 10 * LARGEST}])


WRITERS = (text, checkpoint, adapter, peft, published, store, merged, small, export)
WRITERS += (page, norms, losses)


def refused(write) -> str:
    """What a writer raises in a process that may write no larger files; it is to be for users."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
        said = "nothing was raised"
        try:
            write()
        except DiffspeakError as error:
            said = str(error)
        except BaseException as error:
            said = f"unexpected {error!r}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def files_of(folder: Path):
    shown = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(path.relative_to(folder)): path.read_bytes() for path in shown}


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
def test_it_is_said_nothing_is_half_there_and_the_same_again_completes(base, tmp_path, writer):
    for name in ("whole", "full"):
        (tmp_path / name).mkdir()
    writer(base, tmp_path / "whole")
    whole = files_of(tmp_path / "whole")
    said = refused(lambda: writer(base, tmp_path / "full"))
    assert said.startswith(("cannot write ", "no space left")), said
    assert "\n" not in said and said.endswith("run the same command again")
    left = files_of(tmp_path / "full")
    assert left.items() <= whole.items() and len(left) < len(whole)
    assert not [path for path in (tmp_path / "full").rglob(".*") if path.suffix == ".tmp"]
    writer(base, tmp_path / "full")
    again = files_of(tmp_path / "full")
    # In what order safetensors writes several metadata is left to chance.
    assert again == whole or (writer is checkpoint and again.keys() == whole.keys())


def test_a_line_that_did_not_fit_is_none(tmp_path):
    append_json(tmp_path / "lines", [1])
    said = refused(lambda: lines(None, tmp_path))
    assert said.startswith(("cannot write ", "no space left"))
    append_json(tmp_path / "lines", [2])
    assert (tmp_path / "lines").read_bytes() == b"1\n2\n"
