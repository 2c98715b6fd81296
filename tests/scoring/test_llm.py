"""Every prompt has a reply or a reason, nothing is asked twice, and nothing that came is lost."""

import asyncio
import gc
import signal
import sys
import threading
from concurrent.futures import wait
from dataclasses import replace

import anyio
import pytest
from inspect_ai.model import ModelOutput

from diffspeak.errors import LockedError, UsageError
from diffspeak.io.files import exclusive
from diffspeak.scoring import llm as module
from diffspeak.scoring.llm import LLM, LLMConfig
from diffspeak.scoring.replies import Reply
from tests.scoring.mock_llm import StatusError, mock_provider

NAME = "mockllm/model"
FAST = LLMConfig(max_retries=0)


def told(prompt):
    return f" To {prompt}. \n"


def test_replies_come_in_order_with_all_settings(monkeypatch, tmp_path):
    asked = mock_provider(monkeypatch, told)
    prompts = [f"prompt {n}" for n in range(25)]
    config = LLMConfig(max_tokens=7, temperature=0.5)
    with LLM(NAME, tmp_path, config) as llm:
        replies = llm.ask(prompts, [2**40 + n for n in range(25)], system="Be brief.")
        assert llm.ask([]) == []
    assert replies == [Reply(f"To {prompt}.") for prompt in prompts]
    assert {one.system for one in asked} == {"Be brief."}
    assert {one.prompt: one.config.seed for one in asked} == {f"prompt {n}": n for n in range(25)}
    assert {(one.config.max_tokens, one.config.temperature) for one in asked} == {(7, 0.5)}


def test_an_answer_that_was_cut_off_says_so_again(monkeypatch, tmp_path):
    mock_provider(monkeypatch, lambda _: ModelOutput.from_content("", "And so", "max_tokens"))
    for _ in range(2):
        with LLM(NAME, tmp_path) as llm:
            assert llm.ask(["Go on"]) == [Reply("And so", cut=True)]


def test_half_of_a_surrogate_pair_is_kept_as_a_question_mark(monkeypatch, tmp_path):
    mock_provider(monkeypatch, lambda _: "so \ud83d it is")
    with LLM(NAME, tmp_path) as llm:
        assert llm.ask(["How?"]) == [Reply("so ? it is")]


def test_nothing_is_asked_twice(monkeypatch, tmp_path):
    asked = mock_provider(monkeypatch, told)
    with LLM(NAME, tmp_path) as llm:
        first = llm.ask(["a", "b", "a"])
    assert sorted(one.prompt for one in asked) == ["a", "b"]
    with LLM(NAME, tmp_path, LLMConfig(10 * 51 + 2, 0.0, 1, 2, 3)) as llm:
        assert llm.ask(["a", "b", "a"]) == first == [Reply("To a."), Reply("To b."), Reply("To a.")]
        assert len(asked) == 2
        llm.ask(["a", "c"])
    assert [one.prompt for one in asked[2:]] == ["c"]


@pytest.mark.parametrize(
    "change", ["name", "max_tokens", "temperature", "system", "prompt", "seed", "no seed"]
)
def test_all_that_an_answer_depends_on_is_asked_anew(monkeypatch, tmp_path, change):
    asked = mock_provider(monkeypatch, told)
    with LLM(NAME, tmp_path) as llm:
        llm.ask(["a"], [1], "Be brief.")
    config = replace(LLMConfig(), **{change: 9}) if hasattr(LLMConfig, change) else None
    with LLM("mockllm/other" if change == "name" else NAME, tmp_path, config) as llm:
        llm.ask(
            ["b" if change == "prompt" else "a"],
            None if change == "no seed" else [2 if change == "seed" else 1],
            "Be kind." if change == "system" else "Be brief.",
        )
    assert len(asked) == 2


FAILURES = [
    (ValueError("no\n  luck"), Reply(failure="error", reason="no luck")),
    (StatusError(500), Reply(failure="error", reason="says the provider")),
    (StatusError(404), Reply(failure="access", reason="says the provider")),
    (ValueError(), Reply(failure="error", reason="ValueError")),
    (
        ModelOutput.from_content("", "I must not.", "content_filter"),
        Reply(failure="filtered", reason="the provider's content filter stopped the answer"),
    ),
    (" \n", Reply(failure="empty", reason="the answer was empty (stop: stop)")),
    (ModelOutput(), Reply(failure="empty", reason="the answer was empty (stop: none)")),
]


@pytest.mark.parametrize(("said", "reply"), FAILURES)
def test_a_failure_loses_no_other_answer_and_is_not_kept(monkeypatch, tmp_path, said, reply):
    asked = mock_provider(monkeypatch, lambda prompt: said if prompt == "bad" else told(prompt))
    for expected in (3, 4):
        with LLM(NAME, tmp_path, FAST) as llm:
            assert llm.ask(["a", "bad", "b"]) == [Reply("To a."), reply, Reply("To b.")]
        assert len(asked) == expected
    assert reply.unreached == (reply.failure in ("access", "error"))


def test_an_attempt_that_takes_too_long_is_a_timeout(monkeypatch, tmp_path):
    async def answer(prompt):
        await anyio.sleep(60 if prompt == "slow" else 0)
        return told(prompt)

    asked = mock_provider(monkeypatch, answer)
    with LLM(NAME, tmp_path, LLMConfig(max_retries=1, attempt_timeout=1)) as llm:
        slow, quick = llm.ask(["slow", "quick"])
    assert (slow.failure, slow.unreached, quick.text) == ("timeout", True, "To quick.")
    assert sorted(one.prompt for one in asked) == ["quick", "slow", "slow"]


@pytest.mark.parametrize(
    ("retries", "reply"),
    [(2, Reply("At last.")), (1, Reply(failure="timeout", reason="too busy"))],
)
def test_an_attempt_that_failed_is_made_again(monkeypatch, tmp_path, retries, reply):
    said = iter([TimeoutError("too busy"), TimeoutError("too busy"), "At last."])
    asked = mock_provider(monkeypatch, lambda _: next(said))
    with LLM(NAME, tmp_path, LLMConfig(max_retries=retries)) as llm:
        assert llm.ask(["Well?"]) == [reply]
    assert len(asked) == retries + 1


@pytest.mark.parametrize("connections", [1, 4])
def test_as_many_are_asked_at_a_time_as_was_said(monkeypatch, tmp_path, connections):
    now, most = 0, 0

    async def answer(prompt):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await anyio.sleep(0.01)
        now -= 1
        return told(prompt)

    mock_provider(monkeypatch, answer)
    with LLM(NAME, tmp_path, LLMConfig(max_connections=connections)) as llm:
        llm.ask([str(n) for n in range(12)])
    assert most == connections


def test_it_works_where_an_event_loop_runs_already(monkeypatch, tmp_path):
    mock_provider(monkeypatch, told)

    async def notebook():
        with LLM(NAME, tmp_path) as llm:
            return [*llm.ask(["a"]), *llm.ask(["b"])]

    assert asyncio.run(notebook()) == [Reply("To a."), Reply("To b.")]


@pytest.mark.parametrize("way", ["closed", "forgotten"])
def test_it_leaves_no_thread(monkeypatch, tmp_path, way):
    mock_provider(monkeypatch, told)
    before = threading.active_count()
    llm = LLM(NAME, tmp_path)
    llm.ask(["a"])
    assert threading.active_count() == before + 1
    assert llm._close.atexit, "Python would wait for the thread without end"
    if way == "closed":
        llm.close()
    else:
        del llm
        gc.collect()
    assert threading.active_count() == before


@pytest.fixture
def interruptible():
    """A process in the background may have been started with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupted_it_keeps_what_was_answered(monkeypatch, tmp_path, interruptible):
    kept = tmp_path / "replies.jsonl"

    async def answer(prompt):
        if prompt == "slow 1":
            while not kept.exists() or kept.read_text().count("\n") < 3:
                await anyio.sleep(0.01)
            # As a terminal does it: only a real signal wakes a thread that waits.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        if prompt.startswith("slow"):
            await anyio.sleep(60)
        return told(prompt)

    mock_provider(monkeypatch, answer)
    prompts = ["a", "slow 1", "b", "c", *(f"slow {n}" for n in range(2, 9))]
    # A connection for each: nobody says in which order prompts get one, and slow ones keep theirs.
    with LLM(NAME, tmp_path, LLMConfig(max_connections=len(prompts))) as llm:
        with pytest.raises(KeyboardInterrupt):
            llm.ask(prompts)
        assert llm.ask(["a", "b", "c"]) == [Reply(f"To {prompt}.") for prompt in "abc"]
    asked = mock_provider(monkeypatch, told)
    with LLM(NAME, tmp_path) as llm:
        assert llm.ask(prompts) == [Reply(f"To {prompt}.") for prompt in prompts]
    assert sorted(one.prompt for one in asked) == [f"slow {n}" for n in range(1, 9)]


def test_what_came_while_it_was_interrupted_is_kept_too(monkeypatch, tmp_path):
    def interrupted(futures):
        wait(futures)
        raise KeyboardInterrupt

    asked = mock_provider(monkeypatch, told)
    with monkeypatch.context() as patch, LLM(NAME, tmp_path) as llm:
        patch.setattr(module, "as_completed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            llm.ask(["a", "b"])
    with LLM(NAME, tmp_path) as llm:
        assert llm.ask(["a", "b"]) == [Reply("To a."), Reply("To b.")]
    assert len(asked) == 2


def test_two_processes_do_not_share_a_folder_at_a_time(monkeypatch, tmp_path):
    asked = mock_provider(monkeypatch, told)
    with LLM(NAME, tmp_path) as one, LLM(NAME, tmp_path) as other:
        with exclusive(tmp_path / ".lock"), pytest.raises(LockedError, match="being written"):
            one.ask(["a"])
        assert not asked
        assert one.ask(["a"]) == other.ask(["a"])
        other.ask(["b"])
        assert one.ask(["a", "b"]) == [Reply("To a."), Reply("To b.")]
    assert len(asked) == 2


def test_a_local_model_takes_a_temperature_of_0(tmp_path, tiny):
    with LLM(f"hf/{tiny}", tmp_path, LLMConfig(max_tokens=6)) as llm:
        replies = llm.ask(["Hi", "How do volcanoes work?"])
    assert all(reply.text for reply in replies)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_key_or_a_name_that_no_prompt_gets_past_is_an_error(monkeypatch, tmp_path, status):
    asked = mock_provider(monkeypatch, lambda _: StatusError(status, "wrong key"))
    with LLM(NAME, tmp_path, FAST) as llm, pytest.raises(UsageError) as raised:
        llm.ask(["a", "b"])
    assert str(raised.value) == (
        "mockllm/model refused (wrong key): check the model's name and the API key"
    )
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gpt", "Model name 'gpt' should be in the format"),
        ("nobody/gpt", "Model API nobody of model 'nobody/gpt' not recognized"),
        ("", "Model name '' should be"),
    ],
)
def test_a_name_that_inspect_does_not_know_is_refused(tmp_path, name, why):
    with pytest.raises(UsageError, match=why) as raised:
        LLM(name, tmp_path)
    assert "name it as inspect-ai does, for example openai/gpt-4o-mini" in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_what_inspect_says_is_told_in_one_line(monkeypatch, tmp_path):
    def no_key(*_, **__):
        raise RuntimeError("[bold]ERROR[/bold]: No client\n\nNo [blue]A_KEY[/blue] defined.")

    monkeypatch.setattr("inspect_ai.model.get_model", no_key)
    with pytest.raises(UsageError) as raised:
        LLM("openai/gpt-4o-mini", tmp_path)
    assert str(raised.value).startswith(
        "cannot use the LLM 'openai/gpt-4o-mini' (No client No A_KEY defined.): name it"
    )


def test_without_the_extra_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "inspect_ai.model", None)
    with pytest.raises(UsageError, match=r"pip install 'diffspeak\[judge\]'"):
        LLM(NAME, tmp_path)
