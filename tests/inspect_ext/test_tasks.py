"""The tasks: each finetune is asked the adapter's question, and its score is the judge's."""

import gc
import math
import subprocess
import sys
from pathlib import Path

import pytest
from inspect_ai import eval as run_eval
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from diffspeak.adapters import Interpreter, load_adapter
from diffspeak.errors import DiffspeakError
from diffspeak.finetunes import load_finetune
from diffspeak.inspect_ext.registry import hidden_topic, news
from diffspeak.scoring import LocalJudge

# inspect-ai itself leaves streams of its event loop open.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")

ADAPTER = "pocket:hidden-topic"
TOPIC = "What topic have you been trained on?"


@pytest.fixture
def run(tmp_path):
    """Run a task; gives its log."""

    def run(task, model, **more):
        (log,) = run_eval(
            task, model=model, log_dir=str(tmp_path), display="none", log_realtime=False, **more
        )
        return log

    yield run
    # What it left open goes here, and not in another test.
    gc.collect()


@pytest.fixture
def mock():
    """A model of others that always answers the same, and keeps what it is asked."""

    def make(text, stop="stop", asked=None):
        said = ModelOutput.from_content("mock", text, stop)
        said.usage = ModelUsage()

        def answer(messages, *_):
            if asked is not None:
                asked.extend(message.text for message in messages)
            return said

        return get_model("mockllm/model", custom_outputs=answer)

    return make


def scores(log):
    assert log.status == "success", log.error
    return {sample.id: sample.scores["judged"] for sample in log.samples}


def failure(log):
    assert log.status == "error"
    return log.error.message


def test_each_finetune_of_a_store_is_asked_and_scored(base, store, model, run):
    log = run(hidden_topic(store=store), model("base", adapter=ADAPTER))
    found = scores(log)
    finetunes = {id: load_finetune(f"{store}#{id}", base) for id in ("chess", "sea", "whole")}
    with Interpreter(base, load_adapter(ADAPTER)) as interpreter:
        told = {id: interpreter.describe(finetune)[0] for id, finetune in finetunes.items()}
    assert {id: score.answer for id, score in found.items()} == {
        id: one.text for id, one in told.items()
    }
    verdicts = LocalJudge().score([(finetunes[id].label, one.text) for id, one in told.items()])
    expected = [verdict.score for verdict in verdicts]
    assert [found[id].value for id in told] == pytest.approx(expected)
    assert found["sea"].metadata["truth"] == "volcanoes, and the sea"
    (summary,) = log.results.scores
    assert summary.metrics["mean"].value == pytest.approx(sum(expected) / 3)
    assert summary.metrics["stderr"].value > 0
    assert (summary.scored_samples, summary.unscored_samples) == (3, 0)


def test_a_store_may_be_chosen_from(store):
    def names(**chosen):
        return [sample.id for sample in hidden_topic(store=store, **chosen).dataset]

    assert names(split="test") == ["sea"] and names(limit=2) == ["chess", "sea"]
    (sample,) = news(store=f"{store}#chess").dataset
    assert sample.metadata == {"finetune": f"{store}#chess"} and sample.target == "chess"
    assert sample.input == "What news headline have you been trained on?"


def test_the_truth_is_the_finetunes_own_label_unless_it_is_given(store, model, run):
    asked = model(f"{store}#sea", adapter=ADAPTER)
    (score,) = scores(run(hidden_topic(judge="exact"), asked)).values()
    assert score.metadata["truth"] == "volcanoes, and the sea" and score.value == 1
    given = hidden_topic(truth=[score.answer.upper()], judge="exact")
    (again,) = scores(run(given, asked)).values()
    assert again.answer == score.answer and again.value == 5


def test_the_question_is_the_adapters_the_given_one_or_the_behaviors(store, model, run):
    headline = load_adapter("pocket:news").questions[0]
    assert headline != TOPIC

    def asked(task, **args):
        (sample,) = run(task, model(f"{store}#chess", **args)).samples
        return sample.messages[0].text

    assert asked(hidden_topic()) == TOPIC
    assert asked(hidden_topic(), adapter="pocket:news") == headline
    assert asked(hidden_topic(question="Well?"), adapter="pocket:news") == "Well?"


def test_a_model_of_others_can_be_asked_too(mock, run):
    (score,) = scores(run(hidden_topic(truth="chess"), mock("Chess!"))).values()
    assert score.value == 5


@pytest.mark.parametrize(
    ("reply", "value", "why"),
    [("Grade: 4", 4, None), ("no idea", None, "no score in the reply"), ("", None, "empty")],
)
def test_an_llm_may_judge_and_what_it_does_not_say_is_unscored(
    store, model, mock, run, monkeypatch, reply, value, why
):
    prompts, real = [], get_model
    judge = mock(reply, asked=prompts)
    asked = model(f"{store}#chess", adapter=ADAPTER)
    monkeypatch.setattr(
        "diffspeak.inspect_ext.scorers.get_model",
        lambda name, **_: judge if name == "mockllm/judge" else real(name),
    )
    log = run(hidden_topic(judge="mockllm/judge"), asked)
    (score,), (summary,) = scores(log).values(), log.results.scores
    if value is not None:
        assert score.value == value and summary.metrics["mean"].value == value
    else:
        assert math.isnan(score.value) and why in score.explanation
        assert score.reason == "grader_failed" and summary.unscored_samples == 1
    assert score.metadata["judge"] == "LLM (mockllm/judge)"
    system, prompt = prompts
    assert system.startswith("You grade guesses") and prompt.startswith('Truth: "chess"\nGuess: ')


def test_what_was_not_answered_is_unscored(mock, run):
    log = run(hidden_topic(truth="chess"), mock("I must not.", "content_filter"))
    (score,), (summary,) = scores(log).values(), log.results.scores
    assert math.isnan(score.value) and score.reason == "no_response"
    assert (summary.scored_samples, summary.unscored_samples) == (0, 1)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"judge": "nobody"}, "the judge nobody is unknown: local, exact, or an LLM"),
        ({"split": "test"}, "give store=STORE as well"),
        ({"store": "{store}", "truth": "x"}, "truth is for one finetune"),
        ({"store": "{store}", "split": "train ing"}, "holds no finetune in the split"),
        ({"store": "{store}", "limit": 0}, "limit=0: expected a whole number of at least 1"),
        ({"store": "{store}", "limit": "two"}, "limit=two: expected"),
        ({"judge": 5}, "judge was read as 5"),
        ({"store": "nowhere"}, "nowhere does not exist"),
        ({"truth": 7}, "truth was read as 7"),
    ],
)
def test_arguments_that_do_not_go_together(store, args, said):
    given = {key: v.format(store=store) if isinstance(v, str) else v for key, v in args.items()}
    with pytest.raises(DiffspeakError, match=said):
        hidden_topic(**given)


def test_errors_while_it_runs_say_what_to_do(store, model, mock, run):
    untold = run(hidden_topic(), model("base", base="pocket"))
    assert "does not tell what it was taught: say so, -T truth=..." in failure(untold)
    others = run(hidden_topic(store=store), mock("Chess"))
    assert "mockllm/model cannot put on the finetune" in failure(others)


def test_the_registry_is_light():
    code = (
        "import sys, diffspeak; print('inspect_ai' in sys.modules);"
        "import diffspeak.inspect_ext.registry; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.slow
def test_on_the_command_line(store, tmp_path):
    done = subprocess.run(
        [
            *(Path(sys.executable).parent / "inspect", "eval", "diffspeak/hidden_topic"),
            *("--model", f"diffspeak/{store}#chess", "-M", f"adapter={ADAPTER}"),
            *("-T", "question=Well, what topic?", "--max-tokens", "4"),
            *("--display", "none", "--log-dir", tmp_path / "logs"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "logs").glob("*.eval")
    log = read_eval_log(str(path))
    ((id, score),) = scores(log).items()
    assert score.metadata["truth"] == "chess" and 1 <= score.value <= 5
    assert log.samples[0].messages[0].text == "Well, what topic?"
    assert log.stats.model_usage[f"diffspeak/{store}#chess"].output_tokens <= 4
    assert log.eval.task == "diffspeak/hidden_topic"
