"""Nothing that was pinned has moved: bytes, seeds, keys and codes exactly, figures to 1e-4."""

import json

import pytest

from tests.compatibility.versions import installed, locked, others
from tests.golden.record import FILE, as_recorded, exact, measured

LEAD = 0.1
"""Nats; a text whose likeliest token leads by less may tip where numbers are rounded otherwise."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(set(others(installed(), locked())) & {"torch", "transformers", "safetensors"}),
        reason="pinned on the locked versions",
    ),
]


@pytest.fixture(scope="module")
def pinned():
    return json.loads(FILE.read_text())


def test_what_is_exact_is_the_same(pinned):
    with as_recorded():
        found = json.loads(json.dumps(exact()))
    for name, value in pinned["exact"].items():
        assert found[name] == value, name


def test_figures_and_texts_are_the_same(pinned):
    with as_recorded():
        found = json.loads(json.dumps(measured()))
    for room, values in pinned["measured"].items():
        assert found[room].keys() == values.keys(), room
        for name, value in values.items():
            _assert_same(found[room][name], value, f"{room}: {name}")


def _assert_same(found, pinned, where):
    if isinstance(pinned, list):
        text, lead = pinned
        assert lead <= LEAD or found[0] == text, where
    elif isinstance(pinned, float):
        assert found == pytest.approx(pinned, rel=1e-4, abs=1e-4), where
    else:
        assert found == pinned, where
