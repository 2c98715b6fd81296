"""The list of symmetries, beside the page that explains it."""

from pathlib import Path

import pytest

from diffspeak.errors import UsageError
from diffspeak.symmetries import kinds_of, symmetries_of, traits_of
from tests.symmetries.disguised import config_for

PAGE = Path(__file__).parents[2] / "docs" / "symmetries.md"
COLUMNS = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "gpt2")


def test_the_page_has_the_same_table():
    for column, family in enumerate(COLUMNS):
        written = {cells[0].strip("`"): cells[3 + column] for cells in _rows()}
        known = {s.kind: s for s in symmetries_of(config_for(family))}
        assert written.keys() == known.keys()
        for kind, word in written.items():
            undone = "yes" if known[kind].undone else "flagged"
            assert word == (undone if known[kind].applies else "no"), (family, kind)
    exactness = {s.kind: s.exactness for s in symmetries_of(config_for("llama"))}
    assert {cells[0].strip("`"): cells[2] for cells in _rows()} == exactness


def test_mistral_is_as_llama():
    assert kinds_of(config_for("mistral")) == kinds_of(config_for("llama"))


def test_what_is_lacking_says_why():
    for family in COLUMNS:
        for symmetry in symmetries_of(config_for(family)):
            assert symmetry.applies != bool(symmetry.why_not), symmetry


def test_heads_alone_and_single_groups_have_fewer():
    alone = kinds_of(config_for("llama", num_key_value_heads=8))
    assert "groups" in alone and "heads" not in alone
    single = kinds_of(config_for("llama", num_key_value_heads=1))
    assert "groups" not in single and "heads" in single


def test_unknown_architectures_are_refused():
    config = config_for("llama")
    config.rope_parameters = {"rope_type": "default", "partial_rotary_factor": 0.5}
    with pytest.raises(UsageError, match="a part of each head"):
        traits_of(config)
    config.model_type = "phi3"
    with pytest.raises(UsageError, match="known are llama"):
        symmetries_of(config)


def _rows():
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
