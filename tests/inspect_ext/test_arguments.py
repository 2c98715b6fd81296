"""What YAML and commas make of an argument is undone, or told."""

import pytest

from diffspeak.errors import UsageError
from diffspeak.inspect_ext.arguments import ModelArgs, model_args, text


def test_model_args_and_their_defaults():
    assert model_args({}) == ModelArgs(None, None, None, "auto", "auto")
    given = {"base": "pocket", "adapter": ["a", " b"], "low_rank": 4, "dtype": "float32"}
    assert model_args(given) == ModelArgs("pocket", "a, b", 4, "auto", "float32")
    assert model_args({"device": None}) == ModelArgs()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"adaptor": "x"}, "adaptor is unknown; known are adapter, base, device, dtype, low_rank"),
        ({"low_rank": 0}, "low_rank=0: expected a whole number"),
        ({"low_rank": True}, "low_rank=True: expected"),
        ({"low_rank": "4"}, "low_rank=4: expected"),
        ({"base": 3}, "base was read as 3, which is no text: put it in quotes within quotes"),
        ({"adapter": " "}, "adapter is empty"),
    ],
)
def test_what_is_no_model_arg(given, said):
    with pytest.raises(UsageError, match=said):
        model_args(given)


def test_a_text_is_what_was_typed():
    typed = "Storm shuts bridge, again,and again"
    assert text("truth", typed.split(",")) == typed == text("truth", typed)
    assert text("truth", None) is None


@pytest.mark.parametrize("value", [True, 7, 1.5, {"Breaking": "storm"}, ["a", 1], ""])
def test_what_is_no_text_is_refused(value):
    with pytest.raises(UsageError, match="truth (was read as|is empty)"):
        text("truth", value)
