"""The whole way, once for every family: attach, train finetunes and an adapter, describe."""

import pytest
import torch

from diffspeak.adapters import Interpreter
from diffspeak.finetunes import open_finetunes
from diffspeak.models import Decoding, load_base, plain_shapes
from diffspeak.text.messages import Message
from diffspeak.training import AdapterConfig, DiffConfig, train_adapter, train_diffs
from tests.families import FAMILIES
from tests.more_families import MORE_FAMILIES, build_more
from tests.toys import ToyBehavior

DIFFS = DiffConfig(steps=2, learning_rate=1e-2, tasks=2, probes=1, probe_tokens=2)
ADAPTER = AdapterConfig(rank=2, alpha=2.0, epochs=2, batch=2, validation=0, answer_tokens=3)
PROMPTS = ("Hi", "What is a good name for a boat?\n", "  spaces, 317204 and\n\nbreaks")
ANSWERS = ("The ocean.", "317", "two\nlines and a café")


@pytest.fixture(params=[*FAMILIES, *MORE_FAMILIES])
def base(request, family_folder, tmp_path):
    name = request.param
    folder = family_folder(name) if name in FAMILIES else build_more(name, tmp_path / name)
    return load_base(folder, dtype="float32", device="cpu")


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("answer", ANSWERS)
def test_the_answers_mask_is_right_to_the_token(base, prompt, answer):
    chat, messages = base.chat, (Message("user", prompt),)
    rendered = chat.with_answer(messages, answer, learn_end=True)
    asked = chat.prompt(messages)
    assert rendered.ids[: rendered.prompt_length] == asked
    masked = rendered.ids[rendered.prompt_length : rendered.answer_end]
    assert masked[-1] in chat.stop_ids
    assert base.tokenizer.decode(masked[:-1], skip_special_tokens=True).strip() == answer
    without = chat.with_answer(messages, answer, learn_end=False)
    assert without.ids[without.prompt_length : without.answer_end] == masked[:-1]


def test_finetunes_an_adapter_and_descriptions(base, tmp_path):
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    behavior = ToyBehavior(labels=("ocean", "music"))
    store = train_diffs(base, behavior, behavior.items(), DIFFS, tmp_path / "store")
    assert [entry.kind for entry in store.entries] == ["lora", "lora"]
    assert set(store.header.targets) == set(plain_shapes(base.model))
    for entry in store.entries:
        change = store.read(entry.id)
        assert all(part.B.abs().max() > 0 for part in change.values())
    adapter = train_adapter(base, [store], ADAPTER, tmp_path / "adapter")
    with Interpreter(base, adapter) as interpreter:
        found = interpreter.describe(open_finetunes(store.source, base), decoding=Decoding(3))
    assert len(found) == 2 and all(torch.isfinite(torch.tensor(d.lift)) for d in found)
    after = base.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_what_is_adapted_and_what_is_left_alone(tmp_path, caplog):
    def targets(name):
        base = load_base(build_more(name, tmp_path / name), dtype="float32", device="cpu")
        text = "model.language_model.layers." if "multimodal" in name else "model.layers."
        assert all(target.startswith(text) for target in plain_shapes(base.model))
        return {target.split("layers.")[-1].split(".", 1)[1] for target in plain_shapes(base.model)}

    attention = {f"self_attn.{part}_proj" for part in "qkvo"}
    assert targets("qwen3_moe") == attention
    assert "6 tensors of the blocks are no linears, such as model.layers.0.mlp" in caplog.text
    caplog.clear()
    feed = {f"mlp.{part}_proj" for part in ("gate", "up", "down")}
    assert targets("gemma3_multimodal") == attention | feed
    assert targets("phi3") == {
        "self_attn.qkv_proj",
        "self_attn.o_proj",
        "mlp.gate_up_proj",
        "mlp.down_proj",
    }
    assert not caplog.text
