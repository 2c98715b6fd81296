"""PEFT without bitsandbytes: not imported, not missed, and there again afterwards."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from diffspeak.finetunes.formats.peft_library import without_bitsandbytes
from tests.finetunes.variants import make

NF4 = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")

OPENED = """
import sys
from diffspeak.finetunes import load_finetune
from diffspeak.models import load_base
base = load_base({model!r}, dtype="float32", device="cpu")
plain, odd = load_finetune({plain!r}, base), load_finetune({odd!r}, base)
assert plain.diff and odd.whole
assert "bitsandbytes" not in sys.modules
"""
QUANTIZED = """
load_base({model!r}, dtype="bfloat16", device="cpu", quantize="nf4")
assert "bitsandbytes" in sys.modules
from peft import import_utils
assert import_utils.is_bnb_4bit_available()
from peft.tuners.lora.bnb import Linear4bit
"""


def run(code: str) -> str:
    """What a process of its own says while it runs some code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@NF4
@pytest.mark.slow
def test_only_a_quantized_base_imports_it_and_nobody_hears_of_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    for kind in ("LoRA", "DoRA"):
        make(kind, tiny, tmp_path / kind)
    code = (OPENED + QUANTIZED).format(
        model=str(tiny), plain=str(tmp_path / "LoRA"), odd=str(tmp_path / "DoRA")
    )
    assert run(code) == ""


@NF4
def test_it_is_hidden_within_the_context_alone(monkeypatch):
    from peft import import_utils

    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    with without_bitsandbytes():
        assert not import_utils.is_bnb_available() and not import_utils.is_bnb_4bit_available()
        with pytest.raises(ImportError):
            import bitsandbytes  # noqa: F401
    assert import_utils.is_bnb_available() and "bitsandbytes" not in sys.modules


def test_an_error_leaves_nothing_hidden(monkeypatch):
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    with pytest.raises(KeyError), without_bitsandbytes():
        raise KeyError
    assert "bitsandbytes" not in sys.modules


def test_what_was_imported_before_stays(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", sys)
    with without_bitsandbytes():
        assert sys.modules["bitsandbytes"] is sys
    assert sys.modules["bitsandbytes"] is sys
