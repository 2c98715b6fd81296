"""Bases held in four bits, and activations computed again: the same results in less memory."""

import sys

import pytest
import torch
from accelerate import dispatch_model

from diffspeak.adapters import Interpreter
from diffspeak.errors import UsageError
from diffspeak.finetunes import open_finetunes
from diffspeak.lora import LinearShape, LowRank
from diffspeak.lora.linear import DiffLinear, Switches
from diffspeak.models import Decoding, attach_to, load_base, recomputed
from diffspeak.training import AdapterConfig, DiffConfig, train_adapter, train_diffs, train_group
from tests.families import FAMILIES
from tests.toys import ToyBehavior

DIFFS = DiffConfig(steps=3, learning_rate=1e-2, tasks=2, probes=0)
ADAPTER = AdapterConfig(rank=2, alpha=2.0, epochs=2, batch=2, validation=0, answer_tokens=3)
TOY = ToyBehavior(labels=("ocean", "music"))
nf4 = pytest.mark.skipif(sys.platform != "linux", reason="bitsandbytes is installed on Linux")


def kept_by(base, checkpointing):
    """Bytes that a pass keeps for its backward pass, and the gradient of a diff."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.arange(20, 84)[None]
    inputs = base.model.get_input_embeddings()(ids).detach().requires_grad_()
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        recomputed(base.model, checkpointing),
    ):
        logits = base.model(inputs_embeds=inputs, use_cache=False).logits
    own = {p.untyped_storage().data_ptr() for p in base.model.parameters()}
    (gradient,) = torch.autograd.grad(logits.square().sum(), inputs)
    return sum(size for place, size in kept.items() if place not in own), gradient


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_computed_again_is_not_kept(family_folder, name):
    base = load_base(family_folder(name), dtype="float32", device="cpu")
    plain, expected = kept_by(base, False)
    less, found = kept_by(base, True)
    assert less < 0.7 * plain
    assert torch.equal(found, expected)
    assert not any(module.training for module in base.model.modules())


@pytest.mark.parametrize("name", FAMILIES)
def test_training_comes_out_the_same(family_folder, name, tmp_path):
    base = load_base(family_folder(name), dtype="float32", device="cpu")
    made = []
    for checkpointing in (False, True):
        config = DIFFS.model_copy(update={"checkpointing": checkpointing})
        attachment = attach_to(base.model)
        trained = train_group(base, attachment, TOY, TOY.items(), config)
        attachment.detach()
        made.append(trained)
    for module, change in made[0].diff.items():
        assert torch.equal(change.B, made[1].diff[module].B)
    store = train_diffs(base, TOY, TOY.items(), DIFFS, tmp_path / "store")
    adapters = [
        train_adapter(
            base, [store], ADAPTER.model_copy(update={"checkpointing": c}), tmp_path / f"{c}"
        )
        for c in (False, True)
    ]
    for module, change in adapters[0].diff.items():
        assert torch.equal(change.B, adapters[1].diff[module].B)


def test_full_finetunes_do_not_compute_again():
    with pytest.raises(ValueError, match="checkpointing is for parameters = 'lora' alone"):
        DiffConfig(parameters="all", checkpointing=True)


@nf4
def test_the_whole_way_on_a_base_in_four_bits(tiny, tmp_path):
    plain = load_base(tiny, dtype="float32", device="cpu")
    base = load_base(tiny, dtype="float32", device="cpu", quantize="nf4")
    assert type(base.model.model.layers[0].mlp.up_proj).__name__ == "Linear4bit"
    assert base.fingerprint.linears is None and base.fingerprint.other == plain.fingerprint.other
    store = train_diffs(base, TOY, TOY.items(), DIFFS, tmp_path / "store")
    adapter = train_adapter(base, [store], ADAPTER, tmp_path / "adapter")
    finetunes = list(open_finetunes(store.source, base))
    with Interpreter(base, adapter) as interpreter:
        assert len(interpreter.describe(finetunes, decoding=Decoding(3))) == 2
    # What was made on the quantized base fits the plain one, which has the same fingerprint.
    with Interpreter(plain, adapter) as interpreter:
        assert len(interpreter.describe(finetunes, decoding=Decoding(3))) == 2


@nf4
def test_what_peft_has_to_merge_needs_the_weights(tiny, tmp_path):
    from diffspeak.finetunes import load_finetune
    from tests.finetunes.variants import make

    base = load_base(tiny, dtype="float32", device="cpu", quantize="nf4")
    source = make("DoRA", tiny, tmp_path / "dora")
    with pytest.raises(UsageError, match="cannot be put on a quantized base"):
        load_finetune(source, base)
    with pytest.raises(UsageError, match="cannot be compared with a quantized base"):
        load_finetune(tiny, base)
    assert load_finetune(make("LoRA", tiny, tmp_path / "lora"), base).diff


def test_another_quantization_is_refused(tiny):
    with pytest.raises(UsageError, match="quantize int3 is unknown"):
        load_base(tiny, quantize="int3")


def on_hooks(base):
    """Have accelerate move what goes into each block, as where blocks lie on several GPUs."""
    blocks = {f"model.layers.{n}": "cpu" for n in range(len(base.model.model.layers))}
    parts = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    places = parts | blocks | {"lm_head": "cpu"}
    dispatch_model(base.model, places, main_device="cpu", force_hooks=True)


def test_a_base_that_is_spread_trains_to_the_same(tiny):
    plain, spread = (load_base(tiny, dtype="float32", device="cpu") for _ in range(2))
    on_hooks(spread)
    assert all(hasattr(layer.mlp.up_proj, "_hf_hook") for layer in spread.model.model.layers)
    made = []
    for base in (plain, spread):
        attachment = attach_to(base.model)
        made.append(train_group(base, attachment, TOY, TOY.items(), DIFFS))
        attachment.detach()
    for module, change in made[0].diff.items():
        assert change.B.abs().sum() > 0
        torch.testing.assert_close(change.B, made[1].diff[module].B, rtol=1e-4, atol=1e-6)


def test_a_device_map_is_given_on(tiny):
    base = load_base(tiny, dtype="float32", device_map="auto")
    assert base.fingerprint == load_base(tiny, dtype="float32", device="cpu").fingerprint
    with pytest.raises(UsageError, match="device_map everywhere is unknown; use none, auto"):
        load_base(tiny, device_map="everywhere")


def test_factors_follow_what_comes_in():
    """Factors on one device, a linear on another: here one whose tensors have no content."""
    linear = DiffLinear(torch.nn.Linear(3, 2, device="meta"), LinearShape(3, 2), Switches(), "x")
    linear.base.requires_grad_(False)
    linear.diff = LowRank(torch.ones(2, 1, 3), torch.ones(2, 2, 1))
    assert linear(torch.empty(2, 4, 3, device="meta")).device.type == "meta"
