"""Our judges as a scorer of inspect-ai: 1 (unrelated) to 5 (the same), or unscored.

Takes a task's state, gives a score. Knows nothing of who answered.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from anyio import from_thread, to_thread
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from diffspeak.errors import UsageError
from diffspeak.inspect_ext.arguments import text
from diffspeak.inspect_ext.refusal import in_one_line

if TYPE_CHECKING:
    from diffspeak.scoring.judges import Judge
    from diffspeak.scoring.llm import LLM
    from diffspeak.scoring.replies import Reply

_REPLY = 512
"""Longest reply of an LLM that judges, in tokens."""


@scorer(metrics=[mean(), stderr()])  # type: ignore[untyped-decorator]
def judged(judge: str = "local") -> Scorer:
    """How near an answer comes to the truth.

    The truth is the sample's target; where that is empty, the label of the finetune that answered.
    What cannot be judged is unscored, and enters no mean.

    Args:
        judge: `local` (by spelling), `exact`, or an LLM as inspect-ai names it.

    Raises:
        Refusal: There is no such judge.
        UsageError: Neither the sample nor the finetune tells the truth.
    """
    with in_one_line():
        judging = _judge(text("judge", judge) or "local")

    async def score(state: TaskState, target: Target) -> Score:
        truth = target.text or (state.output.metadata or {}).get("label")
        if not truth:
            raise UsageError("the finetune does not tell what it was taught: say so, -T truth=...")
        heard = not state.output.empty and state.output.stop_reason != "content_filter"
        guess = state.output.completion if heard else None
        (verdict,) = await to_thread.run_sync(judging.score, [(truth, guess)])
        facts = {"truth": truth, "judge": judging.name, "close": verdict.close}
        if verdict.score is None:
            reason = "grader_failed" if heard else "no_response"
            return Score.unscored(
                reason=reason, answer=guess, explanation=verdict.why, metadata=facts
            )
        return Score(value=verdict.score, answer=guess, metadata=facts)

    return score


def _judge(name: str) -> "Judge":
    from diffspeak.scoring.judges import ExactJudge, LLMJudge, LocalJudge

    if name == "local":
        return LocalJudge()
    if name == "exact":
        return ExactJudge()
    if "/" in name:
        # All that a judge wants of an LLM is its name and `ask`.
        return LLMJudge(cast("LLM", _ThroughInspect(name)))
    raise UsageError(
        f"the judge {name} is unknown: local, exact, or an LLM as inspect-ai names it, for "
        "example openai/gpt-4o-mini"
    )


class _ThroughInspect:
    """An LLM asked within the running task, so that the log holds what it said and used."""

    def __init__(self, name: str) -> None:
        # Transformers takes no temperature of 0.
        more = {"do_sample": False} if name.startswith("hf/") else {}
        config = GenerateConfig(temperature=0.0, max_tokens=_REPLY)
        self.name, self._model = name, get_model(name, config=config, **more)

    def ask(self, prompts: Sequence[str], system: str) -> "list[Reply]":
        """Ask one after the other, from a thread that the task's event loop has started."""
        return [from_thread.run(_reply, self._model, prompt, system) for prompt in prompts]


async def _reply(model: Model, prompt: str, system: str) -> "Reply":
    from diffspeak.scoring.replies import Reply

    said: list[ChatMessage] = [ChatMessageSystem(content=system), ChatMessageUser(content=prompt)]
    output = await model.generate(said)
    if not output.empty and output.stop_reason == "content_filter":
        return Reply(failure="filtered", reason="the provider's content filter stopped the reply")
    text = output.completion.strip()
    if not text:
        return Reply(failure="empty", reason="the reply was empty")
    return Reply(text, cut=output.stop_reason == "max_tokens")
