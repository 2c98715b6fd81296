"""What a config means is what PEFT means by it, with its patterns and without them."""

import pytest
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key

from diffspeak.finetunes.formats.peft_targets import by_module, targeted, without_patterns

NAMES = [
    "model.embed_tokens",
    *(
        f"model.layers.{layer}.{part}"
        for layer in (0, 1, 12)
        for part in ("self_attn", "self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj")
    ),
    "model.visual.blocks.1.q_proj",
    "layers.1.q_proj",
    "lm_head",
]

CONFIGS = {
    "ends": {"target_modules": ["q_proj", "up_proj"]},
    "whole names": {"target_modules": ["model.layers.0.self_attn.q_proj", "lm_head"]},
    "a part of an end": {"target_modules": ["proj", "attn.q_proj", "self_attn.v_proj"]},
    "a pattern": {"target_modules": r".*layers\.\d\..*_proj"},
    "excluded ends": {"target_modules": ["q_proj"], "exclude_modules": ["visual.blocks.1.q_proj"]},
    "an excluded pattern": {"target_modules": ["q_proj"], "exclude_modules": ".*visual.*"},
    "layers": {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [0, 12]},
    "a layer": {"target_modules": ["q_proj"], "layers_to_transform": 1},
    "layers, named": {
        "target_modules": ["q_proj"],
        "layers_to_transform": [1],
        "layers_pattern": ["blocks", "lay[e]rs"],
    },
    "a module saved whole": {"target_modules": ["q_proj", "up_proj"], "modules_to_save": ["mlp"]},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_targets_are_pefts(config):
    theirs = LoraConfig(**config)
    expected = {name for name in NAMES if check_target_module_exists(theirs, name)}
    assert expected and targeted(config, NAMES, ()) == expected
    plain = without_patterns(config, NAMES)
    assert not isinstance(plain["target_modules"], str) and not plain.get("layers_pattern")
    again = LoraConfig(**plain)
    assert {name for name in NAMES if check_target_module_exists(again, name)} == expected


def test_all_linear_means_those_that_are_linears():
    config = {"target_modules": "all-linear", "exclude_modules": ["lm_head"]}
    assert targeted(config, NAMES, ["lm_head", NAMES[2]]) == {NAMES[2]}
    assert without_patterns(config, NAMES)["target_modules"] == "all-linear"


@pytest.mark.parametrize(
    "patterns",
    [
        {"q_proj": 1, r"layers\.1\..*": 2},
        {r".*\.0\..*proj": 3, "q_proj": 4},
        {r"^model.layers.1[2]?.self_attn.v_proj": 5},
        {"roj": 6},
    ],
)
def test_a_modules_number_is_pefts(patterns):
    expected = {
        name: patterns[key]
        for name in NAMES
        if (key := get_pattern_key(list(patterns), name)) in patterns
    }
    assert by_module(patterns, NAMES) == expected
    plain = without_patterns({"rank_pattern": patterns}, NAMES)["rank_pattern"]
    again = {
        name: plain[key] for name in NAMES if (key := get_pattern_key(list(plain), name)) in plain
    }
    assert again == expected


def test_a_pattern_where_a_name_belongs_is_refused():
    with pytest.raises(ValueError, match=r"modules_to_save holds '\(a\|a\)\*'"):
        without_patterns({"modules_to_save": ["(a|a)*"]}, NAMES)
