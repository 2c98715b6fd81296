"""How a task asks: the adapter's own question, of the finetune that a sample names.

Takes a sample's state, gives it with the answer. Knows nothing of truths.
"""

from typing import Any

from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from diffspeak.errors import UsageError

TOKENS = 64
"""Longest description, as `diffspeak describe` has it."""


def greedy() -> GenerateConfig:
    """How descriptions are decoded, if nothing else is said."""
    return GenerateConfig(max_tokens=TOKENS, temperature=0.0)


@solver  # type: ignore[untyped-decorator]
def asked(question: Any = None) -> Solver:
    """Ask each sample's finetune.

    Args:
        question: None has the model's adapter asked its own question, if it has one; any other is
            in the samples already.

    Raises:
        UsageError: A sample names a finetune, and the model is not of the provider `diffspeak`.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        from diffspeak.inspect_ext.provider import FinetuneAPI
        from diffspeak.inspect_ext.requests import FINETUNE

        api, name = get_model().api, state.metadata.get(FINETUNE)
        ours = isinstance(api, FinetuneAPI)
        if ours and question is None and api.question is not None:
            state.user_prompt.text = api.question
        if name is None:
            return await generate(state)
        if not ours:
            raise UsageError(
                f"{state.model} cannot put on the finetune {name}: ask a store of "
                "--model diffspeak/base"
            )
        return await generate(state, extra_body={FINETUNE: name})

    return solve
