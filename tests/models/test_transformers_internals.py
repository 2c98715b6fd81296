"""The private parts of transformers do what we need."""

import pytest

from diffspeak.models import load_base


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_model_tells_its_attention(tiny, attention):
    base = load_base(tiny, attention=attention, device="cpu")
    assert base.choices["attention"] == attention, (
        "config._attn_implementation no longer tells how a model attends: "
        "mend src/diffspeak/models/transformers_internals.py"
    )
