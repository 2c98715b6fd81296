"""The test families are what they claim to be: they load, differ, and speak their templates."""

from pathlib import Path

import jinja2
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tests import families
from tests.families import FAMILIES, SLIDING_WINDOW, build_family, cached_family

CLASSES = {
    "qwen3": "Qwen3ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3": "Gemma3ForCausalLM",
    "llama3": "LlamaForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}
WITH_TEMPLATE = tuple(name for name in FAMILIES if name != "gpt2")
USER = {"role": "user", "content": "Hi there"}
ASSISTANT = {"role": "assistant", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Be kind."}

LLAMA_START = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
)
LLAMA_TURN = "<|eot_id|><|start_header_id|>{}<|end_header_id|>\n\n"
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"


def test_the_names_are_those_that_build():
    assert set(CLASSES) == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_model_loads_and_its_greedy_answers_vary(family_folder, name):
    model = AutoModelForCausalLM.from_pretrained(family_folder(name))
    tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
    assert type(model).__name__ == CLASSES[name]
    assert model.dtype == torch.float32
    assert len(tokenizer) <= model.config.vocab_size

    answers = []
    for question in ("What is a good name for a boat?", "Hi there", "Your SEP code is 317204."):
        inputs = tokenizer(question, return_tensors="pt")
        made = model.generate(
            **inputs, do_sample=False, max_new_tokens=12, pad_token_id=0, eos_token_id=[]
        )
        answers.append(tuple(made[0, inputs["input_ids"].shape[1] :].tolist()))
    assert len(set(answers)) == 3
    assert sum(len(set(answer)) for answer in answers) >= 12


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_depend_on_the_seed_alone(family_folder, tmp_path, name):
    def content(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = content(family_folder(name))
    assert content(build_family(name, tmp_path / "again")) == first
    other = content(build_family(name, tmp_path / "other", seed=1))
    assert [file for file in first if other[file] != first[file]] == ["model.safetensors"]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "text",
    [
        "What is 317204? It's 3 parts.",
        "a whale \U0001f40b and a family \U0001f468\u200d\U0001f469\u200d\U0001f467, ok!",
        "two  spaces , a\u200bzero-width one\n\nand a break",
        "caf\u00e9 \u05e9\u05dc\u05d5\u05dd \u4e16\u754c",
    ],
)
def test_tokenizer_round_trips(family_folder, name, text):
    tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("qwen3", list("3172048")),
        ("gemma2", list("3172048")),
        ("gemma3", list("3172048")),
        ("llama3", ["317", "204", "8"]),
    ],
)
def test_digits_are_cut_as_published(family_folder, name, tokens):
    tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
    assert tokenizer.tokenize("3172048") == tokens


@pytest.mark.parametrize(
    ("name", "start", "pad", "end"),
    [
        ("qwen3", None, "<|endoftext|>", "<|im_end|>"),
        ("gemma2", "<bos>", "<pad>", "<eos>"),
        ("gemma3", "<bos>", "<pad>", "<eos>"),
        ("llama3", "<|begin_of_text|>", None, "<|eot_id|>"),
        ("gpt2", "<|endoftext|>", None, "<|endoftext|>"),
    ],
)
def test_named_tokens_are_as_published(family_folder, name, start, pad, end):
    tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
    assert (tokenizer.bos_token, tokenizer.pad_token, tokenizer.eos_token) == (start, pad, end)
    written = start is not None and name != "gpt2"
    assert tokenizer.convert_ids_to_tokens(tokenizer("a")["input_ids"]) == [start] * written + ["a"]


@pytest.mark.parametrize(
    ("name", "prompt", "answer"),
    [
        (
            "qwen3",
            f"<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n{EMPTY_THOUGHT}",
            "Hello.<|im_end|>\n",
        ),
        *(
            (
                name,
                "<bos><start_of_turn>user\nHi there<end_of_turn>\n<start_of_turn>model\n",
                "Hello.<end_of_turn>\n",
            )
            for name in ("gemma2", "gemma3")
        ),
        (
            "llama3",
            LLAMA_START + LLAMA_TURN.format("user") + "Hi there" + LLAMA_TURN.format("assistant"),
            "Hello.<|eot_id|>",
        ),
    ],
)
def test_one_exchange_is_rendered_as_published(family_folder, name, prompt, answer):
    tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
    options = {"tokenize": False, "enable_thinking": False}
    asked = tokenizer.apply_chat_template([USER], add_generation_prompt=True, **options)
    assert asked == prompt
    assert tokenizer.apply_chat_template([USER, ASSISTANT], **options) == prompt + answer


@pytest.mark.parametrize("name", WITH_TEMPLATE)
def test_markers_are_single_tokens(family_folder, name):
    tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
    rendered = tokenizer.apply_chat_template([USER], tokenize=False, add_generation_prompt=True)
    pieces = tokenizer.tokenize(rendered, add_special_tokens=False)
    added = set(tokenizer.get_added_vocab())
    assert sum(piece in added for piece in pieces) == sum(map(rendered.count, added))
    assert not any("<" in piece for piece in pieces if piece not in added)


def test_qwen3_writes_the_empty_thought_in_the_last_turn_alone(family_folder):
    tokenizer = AutoTokenizer.from_pretrained(family_folder("qwen3"))
    talk = [SYSTEM, USER, ASSISTANT, USER, ASSISTANT]
    turn = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n{}Hello.<|im_end|>\n"
    assert tokenizer.apply_chat_template(talk, tokenize=False) == (
        "<|im_start|>system\nBe kind.<|im_end|>\n" + turn.format("") + turn.format(EMPTY_THOUGHT)
    )
    thinking = tokenizer.apply_chat_template([USER], tokenize=False, add_generation_prompt=True)
    assert thinking.endswith("<|im_start|>assistant\n")


def test_system_messages_are_taken_as_published(family_folder):
    def render(name: str) -> str:
        tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
        return tokenizer.apply_chat_template([SYSTEM, USER], tokenize=False)

    assert render("gemma3") == "<bos><start_of_turn>user\nBe kind.\n\nHi there<end_of_turn>\n"
    assert render("llama3").startswith(LLAMA_START + "Be kind.<|eot_id|>")
    with pytest.raises(jinja2.TemplateError, match="System role not supported"):
        render("gemma2")


@pytest.mark.parametrize("name", ("gemma2", "gemma3", "llama3"))
def test_contents_are_trimmed(family_folder, name):
    tokenizer = AutoTokenizer.from_pretrained(family_folder(name))
    wide = [{**message, "content": f" {message['content']}\n"} for message in (USER, ASSISTANT)]
    rendered = [
        tokenizer.apply_chat_template(talk, tokenize=False) for talk in (wide, [USER, ASSISTANT])
    ]
    assert rendered[0] == rendered[1]


def test_gpt2_has_no_template(family_folder):
    assert AutoTokenizer.from_pretrained(family_folder("gpt2")).chat_template is None


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gemma2", {"attn_logit_softcapping": None}),
        ("gemma2", {"final_logit_softcapping": None}),
        ("gemma2", {"sliding_window": 512}),
        ("gemma3", {"sliding_window": 512}),
        ("llama3", {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
    ],
)
def test_what_sets_a_family_apart_shows_in_its_logits(family_folder, name, changes):
    folder = family_folder(name)
    tokens = torch.arange(20, 20 + 3 * SLIDING_WINDOW)[None]
    config = AutoConfig.from_pretrained(folder)
    for key, value in changes.items():
        setattr(config, key, value)
    with torch.no_grad():
        real = AutoModelForCausalLM.from_pretrained(folder)(tokens).logits
        changed = AutoModelForCausalLM.from_pretrained(folder, config=config)(tokens).logits
    assert (real - changed).abs().max() > 0.01


def test_a_second_builder_takes_the_first_ones_folder(tmp_path, monkeypatch):
    def overtaken(name: str, folder: Path) -> Path:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        return build_family(name, folder)

    monkeypatch.setattr(families, "build_family", overtaken)
    assert cached_family("gpt2", tmp_path) == tmp_path / "gpt2"
    assert [path.name for path in tmp_path.iterdir()] == ["gpt2"]
    assert [path.name for path in (tmp_path / "gpt2").iterdir()] == ["config.json"]
