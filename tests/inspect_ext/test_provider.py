"""A finetune is a model of inspect-ai: it says what it says to diffspeak, and refuses the rest."""

import asyncio
import shutil
import threading
import time

import pytest
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    get_model,
    get_model_info,
)
from inspect_ai.tool import ToolInfo

from diffspeak.adapters import Interpreter, load_adapter
from diffspeak.errors import DiffspeakError, UsageError
from diffspeak.finetunes import NOTHING, load_finetune
from diffspeak.inference import answers, engine
from diffspeak.models import Decoding
from diffspeak.models.pocket import adapter_folder
from diffspeak.text.messages import Message
from tests.inspect_ext.conftest import say

ADAPTER = "pocket:hidden-topic"
PROMPTS = ["What is a volcano?", "Who are you, and where do you come from?", "Hi"]


@pytest.mark.parametrize("id", ["chess", "whole"])
def test_with_an_adapter_it_says_what_the_interpreter_says(base, store, model, id):
    name = f"{store}#{id}"
    with Interpreter(base, load_adapter(ADAPTER)) as interpreter:
        (greedy,) = interpreter.describe(load_finetune(name, base), decoding=Decoding(12))
        (drawn,) = interpreter.describe(
            load_finetune(name, base), decoding=Decoding(12, 1.0), seed=5
        )
    asked = model(name, adapter=ADAPTER)
    assert asked.api.question == greedy.question
    (output,) = say(asked, greedy.question, max_tokens=12)
    assert output.completion == greedy.text and output.model == name
    assert output.metadata["mean_logprob"] == pytest.approx(greedy.mean_logprob, abs=1e-4)
    assert (output.metadata["finetune"], "seed" in output.metadata) == (name, False)
    (output,) = say(asked, greedy.question, max_tokens=12, temperature=1.0, seed=5)
    assert (output.completion, output.metadata["seed"]) == (drawn.text, 5)


@pytest.mark.parametrize("id", [None, "chess"])
def test_without_an_adapter_it_answers_as_it_is(base, store, model, id):
    finetune = NOTHING if id is None else load_finetune(f"{store}#{id}", base)
    (expected,) = answers(base, [finetune], PROMPTS, Decoding(8))
    # A store says which base it is of; the base alone has to be named.
    asked = model("base", base="pocket") if id is None else model(f"{store}#{id}")
    outputs = say(asked, *PROMPTS, max_tokens=8)
    assert [output.completion for output in outputs] == expected and asked.api.question is None
    prompt = base.chat.prompt((Message("user", PROMPTS[0]),))
    usage = outputs[0].usage
    assert usage.input_tokens == len(prompt) and 1 <= usage.output_tokens <= 8
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    words = asyncio.run(asked.api.count_text_tokens("a volcano and a bridge"))
    assert 5 <= words <= 12


def test_an_adapter_of_others_needs_a_base_and_tells_no_question(store, model, tmp_path):
    shutil.copytree(adapter_folder("hidden-topic"), tmp_path / "dit")
    (tmp_path / "dit" / "diffspeak.json").unlink()
    name, others = f"{store}#chess", str(tmp_path / "dit")
    ours, theirs = model(name, adapter=ADAPTER), model(name, adapter=others)
    assert theirs.api.question is None
    first, second = (say(one, ours.api.question, max_tokens=8)[0] for one in (ours, theirs))
    assert first.completion == second.completion
    with pytest.raises(DiffspeakError, match="nothing says which base"):
        model("base", adapter=others)


def test_a_request_may_name_another_finetune(base, store, model):
    asked = model("base", adapter=ADAPTER)
    for id in ("sea", "chess"):
        with Interpreter(base, load_adapter(ADAPTER)) as interpreter:
            (expected,) = interpreter.describe(
                load_finetune(f"{store}#{id}", base), decoding=Decoding(8)
            )
        body = {"finetune": f"{store}#{id}"}
        (output,) = say(asked, expected.question, max_tokens=8, extra_body=body)
        assert output.completion == expected.text


def test_system_and_user_messages_in_a_row_are_rendered_as_one_turn(base, model):
    asked = model("base", base="pocket")
    apart = [ChatMessageUser(content="Hi"), ChatMessageUser(content="Who are you?")]
    system = ChatMessageSystem(content="Be brief.")
    together = [ChatMessageUser(content="Hi\nWho are you?")]
    first, second, third = say(asked, apart, together, [system, *together], max_tokens=6)
    assert first.completion == second.completion
    assert first.usage.input_tokens == second.usage.input_tokens < third.usage.input_tokens


def test_the_event_loop_goes_on_while_the_model_thinks(model, monkeypatch):
    asked, let_go = model("base", base="pocket"), threading.Event()
    real = engine.generate

    def slow(*args, **kwargs):
        assert let_go.wait(30)
        return real(*args, **kwargs)

    monkeypatch.setattr(engine, "generate", slow)

    async def both():
        answer = asyncio.ensure_future(
            asked.generate("Hi", config=GenerateConfig(max_tokens=2, seed=1))
        )
        before = time.monotonic()
        await asyncio.sleep(0.1)
        assert not answer.done() and time.monotonic() - before < 10
        let_go.set()
        return await answer

    assert asyncio.run(both()).usage.output_tokens <= 2


def test_one_model_answers_in_several_event_loops_and_then_is_closed(model):
    asked = model("base", base="pocket")
    first, again = (say(asked, "Hi", max_tokens=3)[0].completion for _ in range(2))
    assert first == again
    asked.api.close()
    asked.api.close()
    with pytest.raises(Exception, match="diffspeak/base is closed"):
        say(asked, "Hi")


def test_to_look_a_name_up_loads_nothing(monkeypatch):
    loaded = []
    monkeypatch.setattr("diffspeak.inspect_ext.provider.load", lambda *args: loaded.append(args))
    assert get_model_info("diffspeak/nowhere") is None and loaded == []


def test_tools_are_refused(model):
    asked, tool = model("base", base="pocket"), ToolInfo(name="look", description="at it")
    with pytest.raises(UsageError, match="diffspeak knows no tools, and look is one"):
        asyncio.run(asked.api.generate([], [tool], "auto", GenerateConfig()))


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("nowhere/at/all", {"base": "pocket"}, "nowhere/at/all does not exist"),
        ("{store}", {}, "holds 3 finetunes; name one, such as {store}#chess, or ask all of them"),
        ("{store}#none", {}, "holds no finetune 'none'"),
        ("base", {}, "nothing says which base this is: name it with -M base=NAME"),
        ("base", {"base": "nobodys"}, "base nobodys was not found"),
        ("base", {"adapter": "nowhere"}, "nowhere is no adapter: there is no such folder"),
        ("base", {"base": "{tiny}", "adapter": ADAPTER}, "the adapter pocket:hidden-topic"),
        ("{store}#chess", {"base": "{tiny}"}, "the finetune {store}#chess"),
        ("{store}#chess", {"adaptor": ADAPTER}, "the model arg adaptor is unknown"),
        ("{store}#chess", {"low_rank": 2}, "is for full checkpoints"),
    ],
)
def test_what_cannot_be_made_a_model(store, tiny, model, name, args, said):
    place = {"store": store, "tiny": tiny}
    given = {key: v.format(**place) if isinstance(v, str) else v for key, v in args.items()}
    with pytest.raises(DiffspeakError) as raised:
        model(name.format(**place), **given)
    assert said.format(**place) in str(raised.value) and "\n" not in str(raised.value)


def test_inspect_shows_a_refusal_without_a_traceback():
    from inspect_ai._util.error import PrerequisiteError

    with pytest.raises(PrerequisiteError) as raised:
        get_model("diffspeak/./odd[bold]#0", memoize=False)
    assert r"odd\[bold] does not exist" in raised.value.message
    assert "odd[bold] does not exist" in str(raised.value)
