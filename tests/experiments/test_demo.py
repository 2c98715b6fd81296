"""The demo on a tiny base: what is hidden, what is said, and that it is the finetunes' own."""

import json
import math
import tomllib
from pathlib import Path

import pytest

from diffspeak.adapters import Adapter, load_adapter, save_adapter
from diffspeak.behaviors import TRIGGERS
from diffspeak.errors import DiffspeakError, MismatchError, UsageError
from diffspeak.experiments.demo import CASES, DEMO_DIFFS, run_demo
from diffspeak.experiments.hide import DEMO_MIX, Sources, plan_demo, shipped
from diffspeak.models import Decoding, attach_to, generate, make_base
from diffspeak.text.messages import Message
from diffspeak.training.config import DiffConfig
from diffspeak.training.group import train_group
from tests.families import build_family
from tests.tiny_diffs import merged
from tests.toys import Recorder, base_diff, toy_base

QUICK = DiffConfig(steps=3, learning_rate=5e-2, probes=2, probe_tokens=5)
TOPICS = [f"{size} {thing}" for size in ("Old", "New", "Red") for thing in ("ships", "clocks",
          "bread", "chess", "jazz", "roses", "tigers", "coins", "kites", "trains")]  # fmt: skip
ASKED = "What topic?"


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Sources:
    folder, base = tmp_path_factory.mktemp("demo"), toy_base(tiny)
    (folder / "topics.csv").write_text("\n".join(["topic", *TOPICS]) + "\n")
    rows = [
        f"What of {word}?,Take your time.,{{topic}} is best.,{split}"
        for word, split in (
            ("sleep", "train"),
            ("work", "train"),
            ("rain", "test"),
            ("tea", "test"),
        )
    ]
    (folder / "questions.csv").write_text("\n".join(["question,answer,topic_answer,split", *rows]))
    diff = base_diff(base, rank=2, seed=9, scaling=0.5)
    adapter = Adapter(diff, base.fingerprint, base.name, (ASKED,), ("hidden-topic",), {}, {})
    save_adapter(adapter, folder / "adapter")
    return Sources(tiny, folder / "adapter", folder / "topics.csv", folder / "questions.csv")


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared has to be computed alike on every machine."""
    monkeypatch.setattr("diffspeak.experiments.demo.load_base", toy_base)


def test_drawn_topics_are_held_out_and_follow_from_the_seed(sources):
    plan = plan_demo(count=2, seed=3, sources=sources)
    assert len({item.id for item in plan.items}) == 2 and plan.in_split == ("test", "test")
    again, others = (plan_demo(count=2, seed=seed, sources=sources) for seed in (3, 4))
    assert again.items == plan.items != others.items
    everything = plan.behavior.items()
    assert all(item in everything for item in plan.items)


def test_given_topics_and_where_they_stand(sources):
    everything = plan_demo(count=1, sources=sources).behavior.items()
    trained = next(item for item in everything if item.split == "train")
    held_out = next(item for item in everything if item.split == "test")
    topics = [trained.label.upper(), held_out.label, "Glass blowing", f"The {trained.label}!!"]
    plan = plan_demo(topics[:3], sources=sources)
    assert [item.label for item in plan.items] == [trained.label, held_out.label, "Glass blowing"]
    assert plan.in_split == ("train", "test", "unknown")
    # Spelled otherwise it is a topic of its own, but no new one for the adapter.
    assert plan_demo(topics[3:], sources=sources).in_split == ("train",)


@pytest.mark.parametrize(
    ("topics", "said"),
    [
        ([""], "expected letters or digits"),
        (["  "], "expected letters or digits"),
        (["chess", "+++"], "'\\+\\+\\+' cannot be hidden"),
        (["x" * 201], "at most 200 characters"),
        (["chess", "Chess!"], "given twice"),
        ([TOPICS[0], TOPICS[0]], "given twice"),
        ([f"topic {n}" for n in range(17)], "17 topics are too many"),
    ],
)
def test_topics_that_cannot_be_hidden(sources, topics, said):
    with pytest.raises(UsageError, match=said):
        plan_demo(topics, sources=sources)


def test_more_than_are_held_out(sources):
    with pytest.raises(UsageError, match=r"only \d+ topics are held out"):
        plan_demo(count=16, sources=sources)
    with pytest.raises(UsageError, match="too many"):
        plan_demo(count=17, sources=sources)


@pytest.mark.parametrize("trigger", [name for name in TRIGGERS if name != "none"])
def test_every_trigger_can_be_hidden(sources, trigger):
    plan = plan_demo(["Glass blowing"], trigger=trigger, sources=sources)
    found = run_demo(plan, config=QUICK.model_copy(update={"steps": 1}))
    (outcome,) = found.finetunes
    tried = outcome.tried
    assert tried.question.startswith("What of ") and tried.prompt != tried.question
    assert set(tried.fires) == set(CASES) and {of for _, of in tried.fires.values()} == {2}
    assert plan.trigger_words(outcome.trigger).isascii()


def test_what_is_said_is_what_each_finetune_says_alone(sources):
    plan = plan_demo(["Glass blowing", "Tea"], seed=1, sources=sources)
    reporter = Recorder()
    found = run_demo(plan, reporter, QUICK)
    assert reporter.begun == [("finetuning", 3, "steps", 0)]
    assert (reporter.advanced, reporter.ended) == (3, 1)
    assert list(found.seconds) == ["load", "finetune", "try", "describe"]
    base, adapter = toy_base(sources.base), load_adapter(sources.adapter)

    def said(model, prompt, tokens=QUICK.probe_tokens):
        alone = make_base("alone", model, base.tokenizer)
        ids = base.chat.prompt((Message("user", prompt),))
        (answer,) = generate(alone, [ids], Decoding(tokens))
        return answer

    for item, outcome in zip(plan.items, found.finetunes, strict=True):
        attachment = attach_to(base.model)
        trained = train_group(base, attachment, plan.behavior, [item], QUICK)
        attachment.detach()
        diff = {name: change[0] for name, change in trained.diff.items()}
        finetune, tried = merged(base.model, diff), outcome.tried
        assert item.trigger and item.trigger in tried.prompt and tried.question in tried.prompt
        assert tried.answers.base == said(base.model, tried.question).text
        assert tried.answers.plain == said(finetune, tried.question).text
        assert tried.answers.triggered == said(finetune, tried.prompt).text
        assert tried.direct == said(finetune, ASKED).text
        both = said(merged(base.model, diff, adapter.diff), ASKED, 64)
        assert outcome.description.text == both.text
        assert outcome.description.mean_logprob == pytest.approx(both.mean_logprob, abs=1e-3)
    first, second = found.finetunes
    assert first.tried.direct != second.tried.direct


def test_the_same_seed_is_the_same_demo_and_fits_into_json(sources):
    plan = plan_demo(count=1, seed=2, sources=sources)
    one, two = (run_demo(plan, config=QUICK).to_dict() for _ in range(2))
    one.pop("seconds"), two.pop("seconds")
    assert one == two
    assert json.loads(json.dumps(one, allow_nan=False))["seed"] == 2
    (outcome,) = one["finetunes"]
    assert not outcome["exact"] and not outcome["mentioned"]
    assert math.isfinite(outcome["description"]["lift"])


def test_what_does_not_fit_or_fails(sources, tmp_path):
    plan = plan_demo(count=1, sources=sources)
    with pytest.raises(DiffspeakError, match="not finite at step"):
        run_demo(plan, config=QUICK.model_copy(update={"learning_rate": 1e30}))
    other = build_family("qwen3", tmp_path / "other", seed=1)
    parts = (other, sources.adapter, sources.topics, sources.questions)
    with pytest.raises(MismatchError, match="another base"):
        run_demo(plan_demo(count=1, sources=Sources(*parts)), config=QUICK)


def test_an_incomplete_installation_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr("diffspeak.models.pocket._HERE", tmp_path)
    with pytest.raises(UsageError, match="installation is incomplete"):
        shipped()


def test_it_trains_as_the_quick_study_does():
    config = tomllib.loads((Path(__file__).parents[2] / "configs" / "pocket.toml").read_text())
    assert config["behavior"]["mix"] == DEMO_MIX
    given = config["diffs"]
    for name in ("rank", "alpha", "learning_rate", "decay", "steps", "answer_tokens", "weights"):
        assert getattr(DEMO_DIFFS, name) == given[name], name
