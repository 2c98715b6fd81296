"""convert: between formats and back, fused, merged; and every finetune can be described."""

import json
import warnings

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from diffspeak.adapters import Interpreter, load_adapter
from diffspeak.finetunes import open_finetunes
from diffspeak.models import Decoding, load_base
from diffspeak.store import open_store
from diffspeak.text.messages import Message
from tests.cli.conftest import Cli, Made
from tests.finetunes.variants import make


def one_of(made: Made) -> str:
    return f"{made.store}#{open_store(made.store).entries[0].id}"


def test_a_store_through_all_formats(made: Made, cli: Cli, tmp_path, tiny):
    published, peft, again = (tmp_path / name for name in ("published", "peft", "again"))
    ran = cli("convert", made.store, published, "--to", "published")
    assert ran.code == 0 and f"wrote 10 finetunes to {published} as published" in ran.out
    base, asked = ("--base", tiny), ("--question", "Topic?")
    ran = cli("convert", published, again, "--to", "store", *base, *asked)
    assert ran.code == 0 and "as store" in ran.out
    assert cli("convert", again, peft, "--to", "peft", "--limit", 2).code == 0
    assert len(list(peft.iterdir())) == 2
    loaded = load_base(tiny, dtype="float32")
    first = list(open_finetunes(str(made.store), loaded))
    third = list(open_finetunes(str(again), loaded))
    assert [f.label for f in first] == [f.label for f in third]
    for one, other in zip(first, third, strict=True):
        for name, change in one.diff.items():
            assert torch.equal(change.dense(), other.diff[name].dense())
    header = open_store(again).header
    assert header.behavior == {"name": "hidden-topic", "questions": ["Topic?"]}


def test_a_fused_lora_answers_by_itself(made: Made, cli: Cli, tmp_path, tiny):
    folder = tmp_path / "fused"
    ran = cli("convert", one_of(made), folder, "--fuse", made.adapter)
    assert ran.code == 0 and "a LoRA of rank 3; ask it: What topic" in ran.out
    base, adapter = load_base(tiny, dtype="float32"), load_adapter(made.adapter)
    (finetune,) = open_finetunes(one_of(made), base)
    with Interpreter(base, adapter) as interpreter:
        (told,) = interpreter.describe(finetune, decoding=Decoding(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), folder)
    ids = torch.tensor([base.chat.prompt((Message("user", adapter.questions[0]),))])
    stops = list(base.chat.stop_ids)
    made_ids = model.generate(
        input_ids=ids, max_new_tokens=8, do_sample=False, eos_token_id=stops, pad_token_id=0
    )
    assert base.chat.text(made_ids[0, ids.shape[1] :].tolist()) == told.text
    assert sorted(json.loads((folder / "adapter_config.json").read_text())["target_modules"]) == [
        *("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
    ]


def test_a_merged_checkpoint_is_described_like_the_finetune(made: Made, cli: Cli, tmp_path):
    merged = tmp_path / "merged"
    assert cli("convert", one_of(made), merged, "--merge").code == 0
    tell = ("--adapter", made.adapter, "--tokens", 6, "--json")
    one, other = cli("describe", one_of(made), *tell), cli("describe", merged, *tell)
    assert json.loads(one.out)["description"] == json.loads(other.out)["description"]
    assert "this is a merged LoRA" in other.err and "--low-rank 1 reads it as such" in other.err
    third = cli("describe", merged, *tell, "--low-rank", 1)
    assert json.loads(one.out)["description"] == json.loads(third.out)["description"]
    assert "rank 1 holds" in third.err


def test_an_adapter_of_others_is_asked_too(made: Made, cli: Cli, tmp_path, tiny):
    adapter = load_adapter(made.adapter)
    content = {
        name: (change.B * change.scaling * change.rank, change.A)
        for name, change in adapter.diff.items()
    }
    path = tmp_path / "dit-adapter.pt"
    torch.save(content, path)
    common, question = ("--tokens", 6, "--json"), adapter.questions[0]
    ours = cli("describe", made.store, "--adapter", made.adapter, *common)
    said = ("--base", tiny, "--question", question)
    theirs = cli("describe", made.store, "--adapter", path, *said, *common)
    assert theirs.code == 0, theirs.err
    for one, other in zip(ours.out.splitlines(), theirs.out.splitlines(), strict=True):
        assert json.loads(one)["description"] == json.loads(other)["description"]
    ran = cli("describe", made.store, "--adapter", path, "--base", tiny)
    assert ran.code == 2 and "say with --base and --question" in ran.err
    dora = make("DoRA", tiny, tmp_path / "dora")
    ran = cli("describe", made.store, "--adapter", dora, *said)
    assert ran.code == 2 and "is no LoRA" in ran.err


def test_every_format_is_explained(made: Made, cli: Cli, tmp_path, tiny):
    published = tmp_path / "published"
    assert cli("convert", made.store, published, "--to", "published").code == 0
    for source in (published, published / "weight-diffs" / "weight-diff-000.pt"):
        shown = json.loads(cli("show", source, "--json").out)
        assert (shown["kind"], shown["finetunes"]) == ("published finetunes", 10)
        assert len(shown["first"]) == 5 and all("Subject" in key for key in shown["first"])
    shown = json.loads(cli("show", make("DoRA", tiny, tmp_path / "dora"), "--json").out)
    assert shown["kind"] == "PEFT LORA" and shown["beyond a plain LoRA"] == ["use_dora=True"]


def test_what_is_not_low_rank_is_not_fused(made: Made, cli: Cli, tmp_path, tiny):
    dora = make("DoRA", tiny, tmp_path / "dora")
    ran = cli("convert", dora, tmp_path / "out", "--fuse", made.adapter)
    assert ran.code == 2 and "not low-rank" in ran.err and "--merge writes" in ran.err
    assert not (tmp_path / "out").exists()
    ran = cli("convert", dora, tmp_path / "out", "--fuse", made.adapter, "--merge", "--quiet")
    assert ran.code == 0
    ran = cli("describe", tmp_path / "out", "--adapter", made.adapter, "--quiet", "--json")
    alone = cli("describe", dora, "--adapter", made.adapter, "--quiet", "--json")
    assert ran.code == alone.code == 0


@pytest.mark.parametrize(
    "args, what",
    [
        ((), "say what to write: --to peft, published or store"),
        (("--to", "peft", "--merge"), "--to is for the finetune alone"),
        (("--merge",), "holds 10 finetunes; name one with #KEY"),
        (("--to", "peft", "--low-rank", "2"), "--low-rank is for full checkpoints"),
    ],
)
def test_what_cannot_be_converted(made: Made, cli: Cli, tmp_path, args, what):
    ran = cli("convert", made.store, tmp_path / "out", *args)
    assert ran.code == 2 and what in ran.err
    assert not (tmp_path / "out").exists()


def test_what_has_to_be_said(made: Made, cli: Cli, tmp_path, tiny):
    published = tmp_path / "published"
    assert cli("convert", made.store, published, "--to", "published").code == 0
    ran = cli("convert", published, tmp_path / "out", "--to", "store", "--base", tiny)
    assert ran.code == 2 and "say with --question" in ran.err
    ran = cli("convert", published, tmp_path / "out", "--to", "peft")
    assert ran.code == 2 and "missing option '--base'" in ran.err
