"""Patterns of strangers: those that tools write pass, those that never end do not."""

import json

import pytest

from diffspeak.errors import CorruptFileError
from diffspeak.finetunes.patterns import check_patterns
from diffspeak.finetunes.peft_format import CONFIG, read_config

USUAL = (
    "all-linear",
    r".*\.(q_proj|v_proj)",
    r"^(?!.*visual).*(?:q_proj|k_proj)$",
    r"model\.layers\.\d+\.(self_attn|mlp)\..*_proj",
    r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|up_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.x)",
    r"([a-z]{1,3}_){2}proj",
)
ENDLESS = (
    "(a+)+b",
    r"(.*\.)*q_proj",
    "((a|b)*c?)*d",
    "(?:(?:x{2,}y?)|z)+",
    "(?=(a+)+)q",
    "(a*?)*?",
    "(?>(a+)+)b",
    "(?P<n>(a+))(?(n)(b+)+|c)",
)


@pytest.mark.parametrize("pattern", USUAL)
def test_usual_patterns_pass(pattern):
    check_patterns({"target_modules": pattern, "rank_pattern": {pattern: 4}})
    check_patterns({"target_modules": ["(a+)+", "q_proj"], "exclude_modules": None})


@pytest.mark.parametrize("pattern", ENDLESS)
@pytest.mark.parametrize("key", ["target_modules", "exclude_modules", "layers_pattern"])
def test_endless_ones_do_not(key, pattern):
    with pytest.raises(ValueError, match="repeats what is repeated already"):
        check_patterns({key: pattern})


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "is no pattern"), ("a" * 5000, "5000 characters"), ("(" * 3000, "is no pattern")],
)
def test_what_is_no_pattern_is_refused(tmp_path, pattern, message):
    (tmp_path / CONFIG).write_text(json.dumps({"alpha_pattern": {pattern: 1}}))
    with pytest.raises(CorruptFileError, match=message):
        read_config(tmp_path)
