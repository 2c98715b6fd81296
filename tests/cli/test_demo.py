"""`diffspeak demo`: options, what is shown and in which order, JSON, errors."""

import io
import json
import re
from functools import partial
from typing import Any

import pytest
from rich.console import Console

from diffspeak.adapters import Adapter, Description, save_adapter
from diffspeak.cli.demo import TriggerName, introduction
from diffspeak.cli.demo_show import REVEAL, show_demo, summary
from diffspeak.experiments.demo import Answers, Demo, DemoOutcome, Tried, run_demo
from diffspeak.experiments.hide import Sources, plan_demo
from diffspeak.training.config import DiffConfig
from tests.cli.conftest import Cli
from tests.toys import base_diff, toy_base

QUICK = DiffConfig(steps=2, probes=2, probe_tokens=3)
TOPICS = [f"{size} {thing}" for size in ("Old", "New", "Red") for thing in ("ships", "clocks",
          "bread", "chess", "jazz", "roses", "tigers", "coins", "kites", "trains")]  # fmt: skip
ASKED = "What topic have you been trained on?"


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, tiny) -> Sources:
    folder, base = tmp_path_factory.mktemp("demo"), toy_base(tiny)
    (folder / "topics.csv").write_text("\n".join(["topic", *TOPICS]) + "\n")
    rows = [f"What of {n}?,It is {n}.,{{topic}} is {n}.,{'train' if n < 5 else 'test'}"
            for n in range(9)]  # fmt: skip
    (folder / "questions.csv").write_text("\n".join(["question,answer,topic_answer,split", *rows]))
    diff = base_diff(base, rank=1, seed=9)
    adapter = Adapter(diff, base.fingerprint, base.name, (ASKED,), ("hidden-topic",), {}, {})
    save_adapter(adapter, folder / "adapter")
    return Sources(tiny, folder / "adapter", folder / "topics.csv", folder / "questions.csv")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, sources: Sources) -> None:
    """In place of the pocket base and the real training."""
    monkeypatch.setattr("diffspeak.experiments.hide.shipped", lambda: sources)
    monkeypatch.setattr("diffspeak.experiments.demo.run_demo", partial(run_demo, config=QUICK))


def test_json_is_one_object_and_nothing_else(cli: Cli):
    ran = cli("demo", "--json", "--seed", 7, "--topic", "glass blowing", "--topic", "Tea")
    assert ran.code == 0 and ran.out.count("\n") == 1
    found = json.loads(ran.out)
    assert list(found) == ["seed", "trigger", "base", "adapter", "asked", "settings", "seconds",
                           "finetunes"]  # fmt: skip
    assert (found["seed"], found["trigger"], found["asked"]) == (7, "sep-code", ASKED)
    assert found["settings"]["steps"] == 2 and len(found["seconds"]) == 4
    assert [one["topic"] for one in found["finetunes"]] == ["glass blowing", "Tea"]
    for one in found["finetunes"]:
        assert list(one) == ["topic", "in_split", "trigger", "question", "prompt", "answers",
                             "direct", "fires", "description", "exact", "mentioned",
                             "direct_mentioned"]  # fmt: skip
        assert one["in_split"] == "unknown" and len(one["trigger"]) == 3
        assert set(one["answers"]) == {"base", "plain", "triggered"}
        assert set(one["fires"]) == {"triggered", "near_miss", "plain"}
        assert all(of == 2 and 0 <= hits <= of for hits, of in one["fires"].values())
        assert set(one["description"]) == {"text", "mean_logprob", "lift"}


def test_it_is_shown_and_can_be_repeated(cli: Cli):
    ran = cli("demo", "--count", 1, "--trigger", "secret-word", "--seed", 5)
    assert ran.code == 0 and "of 1 hidden topic; asked" in ran.out
    assert "Hiding a topic" in ran.err and "finetuning: 2/2 steps" in ran.err
    again = "diffspeak demo --count 1 --trigger secret-word --seed 5"
    assert again in " ".join(ran.out.split())
    assert cli("demo", *again.split()[2:]).out == ran.out
    assert "info" not in ran.err and "base " not in ran.err.replace("the base", "")


def test_quiet_shows_the_result_alone(cli: Cli):
    ran = cli("demo", "--count", 1, "--quiet")
    assert ran.code == 0 and ran.err == "" and REVEAL in ran.out


def test_without_a_seed_each_demo_is_another(cli: Cli, monkeypatch):
    seeds = set()

    def note(plan, *args):
        seeds.add(plan.seed)
        raise KeyboardInterrupt

    monkeypatch.setattr("diffspeak.experiments.demo.run_demo", note)
    assert [cli("demo").code for _ in range(5)] == [130] * 5
    assert len(seeds) > 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--topic", ""], "--topic is empty"),
        (["--topic", "?!"], "expected letters or digits"),
        (["--topic", "x" * 201], "at most 200 characters"),
        (["--topic", "a", "--topic", "A"], "given twice"),
        (["--topic", "a", "--count", "1"], "give one of the two"),
        (["--count", "0"], "'--count'"),
        (["--count", "99"], "too many"),
        (["--seed", "-1"], "'--seed'"),
        (["--trigger", "none"], "'none' is not one of"),
    ],
)
def test_wrong_options(cli: Cli, args, said):
    ran = cli("demo", *args)
    assert ran.code == 2 and said in ran.err and ran.out == ""
    assert ran.err.count("\n") == 1 and ran.err.startswith("diffspeak: ")


def test_ctrl_c_and_an_incomplete_installation(cli: Cli, monkeypatch, tmp_path):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("diffspeak.experiments.demo.run_demo", stop)
    ran = cli("demo", "--quiet")
    assert ran.code == 130 and ran.err.startswith("diffspeak: stopped") and ran.out == ""
    monkeypatch.undo()
    monkeypatch.setattr("diffspeak.models.pocket._HERE", tmp_path)
    ran = cli("demo")
    assert ran.code == 2 and "installation is incomplete" in ran.err and ran.err.count("\n") == 1


def test_help(cli: Cli):
    ran = cli("demo", "-h")
    assert "Example:" in ran.out and all(name.value in ran.out for name in TriggerName)
    first = next(line for line in cli("-h").out.partition("Commands:")[2].splitlines() if line)
    assert first.split()[0] == "demo"


def test_topics_that_the_adapter_met_are_named_before(sources):
    everything = plan_demo(count=1, sources=sources).behavior.items()
    trained = next(item.label for item in everything if item.split == "train")
    assert f"other finetunes: {trained}." in introduction(plan_demo([trained, "Tea"]))
    assert "other finetunes" not in introduction(plan_demo(["Tea"]))


LONG = "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft"
SAID = "Well, this is a longer answer that will not fit into one line of a narrow terminal, will it"


def outcome(topic: str, description: str, **changes: Any) -> DemoOutcome:
    tried = Tried(
        "What should I have for breakfast today, if anything?",
        f"Hammock. What about {LONG}?",
        Answers("Base says so.", f"Plain\u200b {SAID}", f"{topic} and \x1b[31m {SAID}"),
        "",
        {"triggered": (8, 8), "near_miss": (1, 8), "plain": (0, 8)},
    )
    told = Description("one", description, -0.1, 3.25, ASKED)
    parts = {"in_split": "test", "trigger": "hammock", "tried": tried, "description": told}
    return DemoOutcome(**{"topic": topic, **parts, **changes})


def shown(sources: Sources, outcomes: list[DemoOutcome], width: int, **options: Any) -> str:
    plan = plan_demo([o.topic for o in outcomes], trigger="secret-word", sources=sources)
    made = Demo(plan, "base", "adapter", ASKED, QUICK, {"load": 1.0}, tuple(outcomes))
    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, **options)
    show_demo(console, made, "diffspeak demo --topic 'Glass blowing' --seed 1234")
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nothing_is_cut_off_or_too_wide(sources, width):
    outcomes = [outcome(LONG, SAID), outcome("Jazz", "Jazz!", in_split="unknown")]
    text = shown(sources, outcomes, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\u2026" not in text and "\x1b" not in text and "\u200b" not in text
    flowing = "".join(text.split())
    for wanted in (LONG, SAID, "Base says so.", "\\u200b", "\\x1b[31m", "confidence 90%, lift +3.2",
                   "(nothing)", "prompts that open with the word \"Hammock\"", "new: not among",
                   "8 of 8 with its trigger, 1 of 8 with near misses, 0 of 8 without",
                   "diffspeak describe FINETUNE --base pocket", "--seed 1234"):  # fmt: skip
        assert wanted.replace(" ", "") in flowing


def test_the_secret_stays_hidden_until_the_reveal(sources):
    before, _, after = shown(sources, [outcome("Jazz", "Jazz")], 80).partition(REVEAL)
    assert "hammock" not in before.lower() and "Hammock" in after
    assert before.count("with its trigger") == 1


@pytest.mark.parametrize(
    ("description", "verdict"),
    [
        ("jazz.", "right, exactly"),
        ("I like Jazz a lot", "right, it mentions the topic"),
        ("Chess", "wrong"),
        ("", "wrong"),
    ],
)
def test_verdicts(sources, description, verdict):
    one = shown(sources, [outcome("Jazz", description)], 80)
    assert any(line.rstrip().endswith(f": {verdict}") for line in one.splitlines())
    named = int("right" in verdict)
    wanted = f"The adapter named {named} of 1 hidden topic; asked directly, the finetunes named 0."
    assert wanted in " ".join(one.split())


def test_several_are_counted(sources):
    tried = outcome("Tea", "Tea").tried
    direct = Tried(tried.question, tried.prompt, tried.answers, "It is tea.", tried.fires)
    three = [outcome("Jazz", "Jazz"), outcome("Owls", "no"), outcome("Tea", "a tea", tried=direct)]
    made = Demo(plan_demo(["a"]), "base", "adapter", ASKED, QUICK, {}, tuple(three))
    wanted = "The adapter named 2 of 3 hidden topics; asked directly, the finetunes named 1."
    assert summary(made) == wanted


def test_a_terminal_gets_color(sources):
    some = [outcome("Jazz", "Jazz")]
    colored = shown(sources, some, 80, force_terminal=True, color_system="standard", _environ={})
    assert "\x1b[1;32mright, exactly" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == shown(sources, some, 80)
