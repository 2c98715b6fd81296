"""An adapter's folder: read back, read by peft, and refused where it is not whole."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from diffspeak.adapters import (
    Adapter,
    Calibration,
    Calibrations,
    Interpreter,
    is_adapter,
    load_adapter,
    save_adapter,
)
from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes import NOTHING
from diffspeak.models import Decoding, attach_to, make_base
from tests.hub import OTHER, empty_hub
from tests.toys import base_diff, toy_base

WEIGHTS = "adapter_model.safetensors"


def made(base, rank=3, scaling=0.5):
    return Adapter(
        diff=base_diff(base, rank=rank, scaling=scaling),
        base=base.fingerprint,
        base_name=base.name,
        questions=("Topic?", "Was ist es, m\u00fcde \U0001f600?"),
        behaviors=("toy",),
        settings={"rank": rank, "nested": {"a": [1, None]}},
        results={"train_exact": 1.0},
        name="made",
    )


@pytest.fixture
def folder(base, tmp_path):
    save_adapter(made(base), tmp_path / "deep" / "adapter")
    return tmp_path / "deep" / "adapter"


def test_its_repr_is_one_line_without_a_tensor(base):
    adapter = made(base)
    told = f"Adapter('made', rank 3, {len(adapter.diff)} modules, tells toy, not calibrated, for"
    assert repr(adapter) == f"{told} {base.fingerprint})"
    assert "trained by others" in repr(replace(adapter, behaviors=()))
    described = Calibration(("gained",), (0.0,), (1.0,), (1.0,), 0.0, 0.5, ())
    calibrated = replace(adapter, calibrations=Calibrations(described))
    assert ", calibrated, " in repr(calibrated)


def test_it_is_read_as_it_was_written(base, folder):
    found, wanted = load_adapter(folder), made(base)
    assert found.name == str(folder)
    for part in ("base", "base_name", "questions", "behaviors", "settings", "results"):
        assert getattr(found, part) == getattr(wanted, part)
    assert found.diff.keys() == wanted.diff.keys()
    for name, change in wanted.diff.items():
        assert torch.equal(found.diff[name].A, change.A)
        assert torch.equal(found.diff[name].B, change.B)
        assert found.diff[name].scaling == change.scaling


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
@pytest.mark.parametrize("rank, scaling", [(3, 0.5), (7, 1 / 7), (16, 1 / 16)])
def test_peft_gives_the_same_logits(family_folder, tmp_path, family, rank, scaling):
    base = toy_base(family_folder(family))
    adapter = made(base, rank, scaling)
    save_adapter(adapter, tmp_path, transposed=family == "gpt2")
    ids = torch.tensor([list(range(5, 30))])
    plain = AutoModelForCausalLM.from_pretrained(base.name, dtype=torch.float32)
    with torch.no_grad():
        unchanged = base.model(ids).logits
        theirs = peft.PeftModel.from_pretrained(plain, str(tmp_path)).eval()(ids).logits
        attachment = attach_to(base.model)
        attachment.set_adapter(load_adapter(tmp_path).diff)
        ours = base.model(ids).logits
        attachment.detach()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - unchanged).abs().max() > 0.1


def test_another_base_is_refused_naming_both(base, folder):
    adapter = load_adapter(folder)
    adapter.check(base)
    other = toy_base(base.name)
    with torch.no_grad():
        other.model.model.layers[0].self_attn.q_proj.weight.mul_(1.5)
    other = make_base("other", other.model, other.tokenizer)
    with pytest.raises(MismatchError) as error:
        adapter.check(other)
    for named in (str(folder), str(base.fingerprint), str(other.fingerprint)):
        assert named in str(error.value)
    assert str(base.fingerprint) != str(other.fingerprint)


def test_a_folder_without_an_adapter(tmp_path):
    with pytest.raises(UsageError, match=r"is no adapter: it holds no diffspeak\.json"):
        load_adapter(tmp_path)
    for nowhere in (tmp_path / "nowhere", "nowhere", Path("org/nowhere")):
        with pytest.raises(UsageError, match="nowhere is no adapter: there is no such folder"):
            load_adapter(nowhere)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    return empty_hub(tmp_path / "hub", monkeypatch)


def same(diff, other):
    assert diff.keys() == other.keys()
    for name, change in diff.items():
        torch.testing.assert_close(change.dense(), other[name].dense(), rtol=0, atol=1e-6)


def test_one_of_the_hub_by_its_id_revision_and_subfolder(hub, base, folder):
    shutil.copytree(folder, hub("org/dit"), dirs_exist_ok=True)
    save_adapter(made(base, rank=2), hub("org/dit", OTHER, "v2") / "deep")
    for source, rank in (("org/dit", 3), ("org/dit@v2:deep", 2)):
        assert is_adapter(source)
        found = load_adapter(source)
        assert (found.name, found.base_name) == (source, base.name)
        same(found.diff, made(base, rank=rank).diff)
    with pytest.raises(UsageError, match="org/dit has no folder nowhere"):
        load_adapter("org/dit:nowhere")
    with pytest.raises(UsageError, match="could not be fetched from the hub"):
        load_adapter("org/nowhere")


def test_a_lora_of_others_needs_its_base_and_a_question(hub, base, family_folder):
    scaling = 1 / 3
    wanted = base_diff(base, rank=3, scaling=scaling)
    place = hub("org/loras") / "hidden-topic" / "tiny"
    place.mkdir(parents=True)
    content = {name: (change.B, change.A) for name, change in wanted.items()}
    torch.save(content, place / "dit-adapter.pt")
    source = "org/loras:hidden-topic/tiny/dit-adapter.pt"
    assert not is_adapter(source)
    found = load_adapter(source, base, ["What topic?", "Which?"])
    assert (found.name, found.questions) == (source, ("What topic?", "Which?"))
    same(found.diff, wanted)
    with Interpreter(base, found) as interpreter:
        (told,) = interpreter.describe(NOTHING, decoding=Decoding(2))
    assert told.question == "What topic?"
    for lacking in ((), (base,), (None, ["What topic?"]), (base, [])):
        with pytest.raises(UsageError, match="a LoRA of others also its base and what to ask it"):
            load_adapter(source, *lacking)
    for blank in ([" "], ["What topic?", ""]):
        with pytest.raises(UsageError, match="say what .* is to be asked"):
            load_adapter(source, base, blank)
    with pytest.raises(MismatchError, match=r"dit-adapter\.pt"):
        load_adapter(source, toy_base(family_folder("gpt2")), ["What topic?"])


def test_base_and_questions_that_are_given_with_an_adapter_of_ours(base, folder, family_folder):
    assert load_adapter(folder, base).questions == made(base).questions
    assert load_adapter(folder, base, ["Another?"]).questions == ("Another?",)
    with pytest.raises(MismatchError, match="was made for another base"):
        load_adapter(folder, toy_base(family_folder("gpt2")))


@pytest.mark.parametrize("questions", [[""], [" \n"], ["Topic?", " "]])
def test_a_blank_question_for_an_adapter_of_ours(base, folder, questions):
    for given in ((None, questions), (base, questions)):
        with pytest.raises(UsageError, match="a question for .* is blank: ask something, or leave"):
            load_adapter(folder, *given)


def card(folder, change):
    path = folder / "diffspeak.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("version", [2, 99])
def test_a_newer_version(folder, version):
    card(folder, lambda content: content.update(version=version))
    with pytest.raises(MismatchError, match=f"version {version}.*upgrade"):
        load_adapter(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "{}", '{"version": 1}'])
def test_a_card_that_is_no_card(folder, text):
    (folder / "diffspeak.json").write_text(text)
    with pytest.raises(CorruptFileError, match=r"diffspeak\.json"):
        load_adapter(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("base"),
        lambda content: content.update(base=None),
        lambda content: content.update(base={}),
        lambda content: content.update(base=["a"]),
        lambda content: content["base"].update(more=1),
        lambda content: content.pop("questions"),
        lambda content: content.update(questions=None),
        lambda content: content.update(questions=[]),
        lambda content: content.update(questions="Topic?"),
        lambda content: content.update(questions=[1]),
        lambda content: content.update(behaviors=3),
        lambda content: content.pop("settings"),
        lambda content: content.update(version=None),
        lambda content: content.update(version="1"),
        lambda content: content.pop("results"),
    ],
)
def test_a_garbled_card(folder, change):
    card(folder, change)
    with pytest.raises(CorruptFileError, match=r"diffspeak\.json"):
        load_adapter(folder)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_weights_that_were_cut_off(folder, share):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CorruptFileError, match=WEIGHTS):
        load_adapter(folder)


def test_weights_that_are_missing(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(CorruptFileError, match=WEIGHTS):
        load_adapter(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder, value):
    tensors = load_file(folder / WEIGHTS)
    next(iter(tensors.values()))[0, 0] = value
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(CorruptFileError, match="not finite"):
        load_adapter(folder)


def test_half_of_the_factors(folder):
    tensors = load_file(folder / WEIGHTS)
    tensors.pop(next(key for key in tensors if "lora_B" in key))
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(CorruptFileError, match="only half of the factors"):
        load_adapter(folder)


def test_no_peft_config(folder):
    (folder / "adapter_config.json").unlink()
    with pytest.raises(DiffspeakError, match=r"adapter_config\.json"):
        load_adapter(folder)
