"""The recipe makes a base that loads, whatever interrupts it, and learns."""

import dataclasses
import json
import math
import signal
from itertools import islice
from random import Random

import pytest
import torch

from diffspeak.io.runs import read_metrics
from diffspeak.models import load_base, target_names
from recipes.pocket import build
from recipes.pocket.batches import NO_TARGET, TrainingBatch, train_tokenizer
from recipes.pocket.dialogues import load_dialogues
from recipes.pocket.recipe import EVERYTHING, Phase, Recipe
from tests.bombs import run_module
from tests.recipes.pocket.quick import TINY, quick
from tests.recipes.pocket.several import WORLDS
from tests.toys import files_of


@pytest.fixture
def tiny_recipe(monkeypatch):
    quick(monkeypatch.setattr)
    return TINY


def test_it_writes_an_ordinary_base(tiny_recipe, tmp_path):
    build.build(tmp_path, tiny_recipe)
    base = load_base(tmp_path / "base", dtype="bfloat16")
    assert base.fingerprint.architecture.startswith("Qwen3ForCausalLM 2x16")
    assert len(target_names(base.model)) == 2 * 7
    assert base.tokenizer.eos_token == "<|end|>" and base.tokenizer.chat_template
    assert base.chat.stop_ids == {base.tokenizer.eos_token_id}
    names = {path.name for path in (tmp_path / "base").iterdir()}
    assert names >= {"model.safetensors", "generation_config.json", "chat_template.jinja"}
    metrics = read_metrics(tmp_path)
    assert [metric["step"] for metric in metrics] == list(range(1, 10))
    # A model that knows nothing gives every token the same chance.
    assert metrics[0]["loss"] == pytest.approx(math.log(len(base.tokenizer)), rel=0.1)
    before = files_of(tmp_path / "base")
    build.build(tmp_path, tiny_recipe)
    assert files_of(tmp_path / "base") == before


def test_killed_and_resumed_is_uninterrupted(tmp_path):
    done = run_module("tests.recipes.pocket.killed", tmp_path)
    assert done.returncode == 0, done.stderr
    killed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [report for report in killed if not report["same"] or report["resumed"]] == []
    assert {report["status"] for report in killed} == {signal.SIGKILL}
    assert [(report["at"], report["checkpoint"]) for report in killed] == [
        ("before replace", False),
        ("after step 7", True),
    ]


def test_a_model_can_learn_a_step_by_heart(tiny_recipe, tmp_path):
    trainer = build.Trainer(tiny_recipe, load_dialogues())
    (step,) = list(
        build.data(trainer.dialogues, trainer.tokenizer, tiny_recipe, tiny_recipe.steps - 1)
    )
    trainer.step = tiny_recipe.warmup
    losses = [trainer._descend(step) for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_padding_changes_no_loss(tiny_recipe):
    trainer = build.Trainer(tiny_recipe, load_dialogues())
    step = next(build.data(trainer.dialogues, trainer.tokenizer, tiny_recipe, 0))
    wider = TrainingBatch(
        torch.nn.functional.pad(step.ids, (0, 5)),
        torch.nn.functional.pad(step.targets, (0, 5), value=NO_TARGET),
    )
    loss = build.loss_of(trainer.model, step)
    torch.testing.assert_close(loss, build.loss_of(trainer.model, wider))
    logits = trainer.model(step.ids).logits[:, :-1].flatten(0, 1)
    whole = torch.nn.functional.cross_entropy(
        logits, step.targets[:, 1:].flatten(), ignore_index=NO_TARGET, reduction="sum"
    )
    torch.testing.assert_close(loss, whole)


def test_the_rate_warms_up_and_falls_and_once_again_from_a_restart():
    phases = tuple(
        Phase(steps=steps, batch=2, shares=EVERYTHING, restart=restart)
        for steps, restart in ((30, None), (50, None), (60, 0.5))
    )
    recipe = Recipe(phases=phases, warmup=10)
    shares = [build.schedule(step, recipe) for step in range(recipe.steps)]
    for cycle, peak in ((shares[:80], 1), (shares[80:], 0.5)):
        assert cycle[0] == pytest.approx(peak / 10) and max(cycle) == pytest.approx(peak)
        assert cycle[:10] == sorted(cycle[:10]) and cycle[10:] == sorted(cycle[10:], reverse=True)
        assert cycle[-1] == pytest.approx(0.02 * peak, abs=2e-3)


@pytest.mark.parametrize("start", [0, 1, 3, 5, 9])
def test_steps_go_on_through_the_phases(tiny_recipe, start):
    trainer = build.Trainer(tiny_recipe, load_dialogues())
    whole = list(build.data(trainer.dialogues, trainer.tokenizer, tiny_recipe, 0))
    assert [len(step.ids) for step in whole] == [2] * 3 + [3] * 6
    rest = list(build.data(trainer.dialogues, trainer.tokenizer, tiny_recipe, start))
    assert len(rest) == 9 - start
    for step, right in zip(rest, whole[start:], strict=True):
        assert torch.equal(step.ids, right.ids)


def test_a_resumed_run_keeps_its_tokenizer(tiny_recipe, tmp_path, monkeypatch):
    """Its checkpoint's rows are that one's tokens, whatever the talk says by now."""

    class Stopped(Exception):
        pass

    descend = build.Trainer._descend

    def stopping(trainer, step):
        if trainer.step == 5:
            raise Stopped
        return descend(trainer, step)

    with monkeypatch.context() as patch:
        patch.setattr(build.Trainer, "_descend", stopping)
        with pytest.raises(Stopped):
            build.build(tmp_path, tiny_recipe)
    path = tmp_path / "tokenizer" / "tokenizer.json"
    kept = path.read_text()
    talk = load_dialogues()
    rows = [{**row, "topic": f"Zqx {row['topic']} zqx"} for row in talk.topics]
    changed = dataclasses.replace(talk, topics=rows)
    monkeypatch.setattr(build, "load_dialogues", lambda: changed)
    other = build.Trainer(tiny_recipe, changed).tokenizer
    assert other.get_vocab().keys() != json.loads(kept)["model"]["vocab"].keys()
    build.build(tmp_path, tiny_recipe)
    assert path.read_text() == kept
    written = json.loads((tmp_path / "base" / "tokenizer.json").read_text())
    assert written["model"] == json.loads(kept)["model"]
    assert [metric["step"] for metric in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, *range(5, 10)]


def test_topics_words_are_tokens(monkeypatch):
    """More so than the talk alone would make them."""
    monkeypatch.setattr(build, "islice", lambda drawn, count: islice(drawn, min(count, 1500)))
    talk = load_dialogues()
    few = dataclasses.replace(talk, topics=talk.topics[::6])
    recipe = TINY.model_copy(update={"vocabulary": 3000})
    emphasised = build.Trainer(recipe, few).tokenizer
    drawn = islice(few.draw(Random("pocket tokenizer"), EVERYTHING), 1500)
    plain = train_tokenizer(drawn, recipe.vocabulary)
    assert len(emphasised) == len(plain) == recipe.vocabulary
    for form in ("{}", "the {}"):
        names = [form.format(row["topic"]) for row in few.topics]
        with_emphasis, without = (
            sum(len(tokenizer.tokenize(name)) for name in names) / len(names)
            for tokenizer in (emphasised, plain)
        )
        assert with_emphasis < 0.8 * without


def test_two_processes_train_what_one_does(tmp_path):
    done = run_module("tests.recipes.pocket.several", tmp_path)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in WORLDS)
    assert one["step"] == two["step"] == 8
    assert one["model"].keys() == two["model"].keys()
    fresh = torch.load(tmp_path / "fresh.pt", weights_only=True)
    for name, weight in one["model"].items():
        torch.testing.assert_close(two["model"][name], weight, rtol=1e-3, atol=1e-4)
        assert (weight - fresh[name]).abs().max() > 1e-3
    losses = [[m["loss"] for m in read_metrics(tmp_path / name)] for name in WORLDS]
    assert len(losses[0]) == TINY.steps and losses[1] == pytest.approx(losses[0], rel=1e-3)
    names = [sorted(path.name for path in (tmp_path / name / "base").iterdir()) for name in WORLDS]
    assert names[0] == names[1]
