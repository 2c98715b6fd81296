"""Answer many prompts at once, each row with the diff of its own finetune.

Takes prompts as token ids, gives answers with the mean log-probability of their tokens. Prompts of
like length share a batch, padded on the left; finished rows leave it. What a row answers does not
depend on its neighbors: greedy to rounding, sampled from its own seed.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from diffspeak.lora import Attachment, DiffLinear
from diffspeak.models.cache import roomy_cache
from diffspeak.models.load import Base
from diffspeak.models.logits import check_length

DROPPED = 0.125
"""Share of a batch's rows that have stopped before they are dropped."""


class Answer(NamedTuple):
    """What a model said.

    Attributes:
        ids: Token ids, the stop token included if it came.
        text: The words, special tokens left out.
        mean_logprob: Nats a token, over `ids`; of the model itself, whatever the temperature.
    """

    ids: list[int]
    text: str
    mean_logprob: float


@dataclass(frozen=True)
class Decoding:
    """How to choose tokens.

    Attributes:
        max_new_tokens: Where an answer is cut off.
        temperature: 0 is greedy; otherwise logits are divided by it and sampled from.
        batch_size: Rows decoded together.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    batch_size: int = 64

    @property
    def draws(self) -> bool:
        """Whether tokens are drawn, for which each row needs a seed."""
        return self.temperature != 0


def generate(
    base: Base,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding | None = None,
    *,
    seeds: Sequence[int] | None = None,
    temperatures: Sequence[float] | None = None,
    attachment: Attachment | None = None,
    tasks: Sequence[int] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Answer]:
    """Answer prompts, in their order.

    Args:
        base: Answers with whatever is attached and switched on.
        prompts: Token ids of each row, generation prompt included.
        decoding: Length, temperature, batch.
        seeds: One for each row; needed when sampling, and not looked at otherwise. There are none
            by default: a row's place in the list would make it depend on its neighbors.
        temperatures: One for each row, in place of that of `decoding`.
        attachment: Needed where `tasks` are given.
        tasks: Which task of the attached stack answers each row; afterwards rows lie in equal
            groups again. Needed where the stack has several.
        progress: Told the number of rows that were just answered.

    Raises:
        ValueError: `tasks` without `attachment`, or none where several finetunes are attached; no
            seeds where answers are drawn.
    """
    _check_tasks(base, attachment, tasks)
    decoding = decoding or Decoding()
    if temperatures is None:
        temperatures = [decoding.temperature] * len(prompts)
    if any(temperatures) and seeds is None:
        raise ValueError("answers are drawn: give seeds, one for each row")
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers: dict[int, Answer] = {}
    try:
        for start in range(0, len(order), decoding.batch_size):
            rows = order[start : start + decoding.batch_size]
            group = _Rows(
                base,
                [prompts[i] for i in rows],
                [torch.Generator().manual_seed(seeds[i]) for i in rows] if seeds else [],
                attachment,
                None if tasks is None else [tasks[i] for i in rows],
                [temperatures[i] for i in rows],
                decoding.max_new_tokens,
            )
            answers.update(zip(rows, group.run(decoding.max_new_tokens), strict=True))
            if progress:
                progress(len(rows))
    finally:
        if attachment is not None and tasks is not None:
            attachment.set_rows(None)
    return [answers[i] for i in range(len(prompts))]


def _check_tasks(base: Base, attachment: Attachment | None, tasks: Sequence[int] | None) -> None:
    """Rows are sorted and dropped on the way: only `tasks` can tell whose a row is."""
    if tasks is not None:
        if attachment is None:
            raise ValueError("tasks are of no use without the attachment that carries their diffs")
        return
    linears = [module for module in base.model.modules() if isinstance(module, DiffLinear)]
    if any(x.diff is not None and len(x.diff.A) > 1 and x.switches.diff for x in linears):
        raise ValueError("several finetunes are attached: give tasks, the finetune of each row")


class _Rows:
    """One batch on its way: what is cached, and which rows are still talking."""

    def __init__(
        self,
        base: Base,
        prompts: Sequence[Sequence[int]],
        generators: Sequence[torch.Generator],
        attachment: Attachment | None,
        tasks: Sequence[int] | None,
        temperatures: Sequence[float],
        max_new_tokens: int,
    ) -> None:
        self.base, self.attachment, self.generators = base, attachment, list(generators)
        longest = max(len(prompt) for prompt in prompts)
        check_length(base.model, longest + max_new_tokens - 1)
        pad = base.chat.pad_id
        padded = [[pad] * (longest - len(p)) + list(p) for p in prompts]
        self.ids = torch.tensor(padded, device=base.device)
        real = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
        self.attention = torch.tensor(real, device=base.device)
        self.positions = (self.attention.cumsum(1) - 1).clamp_min(0)
        self.tasks = None if tasks is None else torch.tensor(tasks, device=base.device)
        self.temperatures = torch.tensor(temperatures, device=base.device)
        self.rows = list(range(len(prompts)))
        self.going = set(self.rows)
        self.cache = roomy_cache(base.model.config)
        self.cache_name = _cache_name(base.model)
        self.said: list[list[int]] = [[] for _ in prompts]
        self.logprobs: list[list[float]] = [[] for _ in prompts]

    @torch.no_grad()
    def run(self, max_new_tokens: int) -> list[Answer]:
        """Decode until every row has stopped or the limit is reached."""
        self._set_rows()
        for _ in range(max_new_tokens):
            self._step()
            if not self.going:
                break
        chat = self.base.chat
        return [
            Answer(ids, chat.text(ids), sum(lp) / max(1, len(lp)))
            for ids, lp in zip(self.said, self.logprobs, strict=True)
        ]

    def _set_rows(self) -> None:
        if self.attachment is not None and self.tasks is not None:
            self.attachment.set_rows(self.tasks)

    def _step(self) -> None:
        out = self.base.model(
            input_ids=self.ids,
            attention_mask=self.attention,
            position_ids=self.positions,
            **{self.cache_name: self.cache},
            use_cache=True,
            logits_to_keep=1,
        )
        logprobs = out.logits[:, -1].float().log_softmax(-1)
        chosen = self._choose(logprobs)
        values = logprobs.gather(1, chosen[:, None])[:, 0].tolist()
        for row, token, value in zip(self.rows, chosen.tolist(), values, strict=True):
            if row in self.going:
                self.said[row].append(token)
                self.logprobs[row].append(value)
                if token in self.base.chat.stop_ids:
                    self.going.remove(row)
        self._advance(chosen)

    def _choose(self, logprobs: Tensor) -> Tensor:
        """Next token of each row, `[row]`: the likeliest, or one drawn by inverting the CDF."""
        chosen = logprobs.argmax(-1)
        drawn = self.temperatures.nonzero()[:, 0]
        if len(drawn) == 0:
            return chosen
        cdf = (logprobs[drawn] / self.temperatures[drawn, None]).softmax(-1).cumsum(-1)
        generators = (self.generators[self.rows[place]] for place in drawn.tolist())
        draws = [torch.rand(1, generator=generator) for generator in generators]
        below = torch.stack(draws).to(cdf.device) * cdf[:, -1:]
        found = torch.searchsorted(cdf, below, right=True)[:, 0].clamp_max(cdf.shape[-1] - 1)
        return chosen.index_copy(0, drawn, found)

    def _advance(self, chosen: Tensor) -> None:
        """Append the chosen tokens; drop the rows that have stopped, once they are enough."""
        self.ids = chosen[:, None]
        self.attention = torch.nn.functional.pad(self.attention, (0, 1), value=1)
        self.positions = self.positions[:, -1:] + 1
        stopped = len(self.rows) - len(self.going)
        # To drop rows copies all that is cached, and the factors of those that stay.
        if not self.going or stopped < max(1, DROPPED * len(self.rows)):
            return
        keep = [place for place, row in enumerate(self.rows) if row in self.going]
        self.rows = [self.rows[place] for place in keep]
        places = torch.tensor(keep, device=chosen.device)
        self.ids, self.attention = self.ids[places], self.attention[places]
        self.positions, self.temperatures = self.positions[places], self.temperatures[places]
        self.cache.batch_select_indices(places)
        if self.tasks is not None:
            self.tasks = self.tasks[places]
            self._set_rows()


def _cache_name(model: PreTrainedModel) -> str:
    """What a model's `forward` calls the cache: `past_key_values`, or since 5.24 `cache`."""
    known = inspect.signature(type(model).forward).parameters
    return "cache" if "cache" in known else "past_key_values"
