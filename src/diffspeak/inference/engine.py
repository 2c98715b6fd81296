"""The engine: puts finetunes and an adapter on one base, and generates and scores with them.

All that generates or scores outside of training goes through here. Low-rank finetunes share their
batches, a task each; whole ones are used one after the other. What is computed for a finetune does
not depend on its neighbors, but for rounding; what is drawn for it comes from seeds alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from diffspeak.finetunes import NOTHING, Finetune, groups, put_on
from diffspeak.lora import Attachment, Diff
from diffspeak.models import (
    Answer,
    Base,
    Batch,
    Decoding,
    Readout,
    Rendered,
    answer_logits,
    attach_to,
    check_base,
    generate,
    make_batch,
    readout_of,
)
from diffspeak.text.messages import Message

TOGETHER = 16
"""Low-rank finetunes that are on the base at a time where each is asked many things."""

ROWS = 128
"""Conversations scored in one pass."""


class Ask(NamedTuple):
    """A prompt for a finetune.

    Attributes:
        finetune: Who is asked; `NOTHING` for the base itself.
        prompt: Token ids, generation prompt included.
        seed: Of what is drawn; needed there, and not looked at elsewhere.
        temperature: In place of that of the decoding, if one is given.
    """

    finetune: Finetune
    prompt: Sequence[int]
    seed: int | None = None
    temperature: float | None = None


class Score(NamedTuple):
    """How likely an answer is.

    Attributes:
        logprob: Of all its tokens together, in nats.
        tokens: How many there are.
    """

    logprob: float
    tokens: int

    @property
    def mean(self) -> float:
        """Nats a token."""
        return self.logprob / self.tokens


class Engine:
    """One base, and what is put on it; a context manager that takes everything off again.

    Args:
        base: Nothing attached.
        adapter: A change for all rows, beside that of each row's finetune; none by default.
        attachment: Of a base that has one already, adapter included; it is left as it is.

    Raises:
        MismatchError: The adapter does not fit the base's linears.
    """

    def __init__(
        self, base: Base, adapter: Diff | None = None, attachment: Attachment | None = None
    ) -> None:
        self.base = base
        self.attachment = attach_to(base.model) if attachment is None else attachment
        self._own = attachment is None
        self._readout: Readout | None = None
        try:
            if adapter is not None:
                on_device = {name: change.to(base.device) for name, change in adapter.items()}
                self.attachment.set_adapter(on_device)
        except Exception:
            self.close()
            raise

    def __enter__(self) -> "Engine":
        """Give itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Take everything off the base."""
        self.close()

    def close(self) -> None:
        """Take everything off the base."""
        if self._own:
            self.attachment.detach()

    @property
    def closed(self) -> bool:
        """Whether it is off the base, and of no more use."""
        return not self.attachment.linears

    def applied(self, group: Sequence[Finetune]) -> AbstractContextManager[None]:
        """Within this context the base carries finetunes that can share a pass, a task each."""
        return put_on(self.base, self.attachment, group)

    def prompt(self, text: str) -> list[int]:
        """Token ids of what a user says."""
        return self.base.chat.prompt((Message("user", text),))

    def generate(
        self,
        asks: Sequence[Ask],
        decoding: Decoding,
        progress: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        """Let finetunes answer, in the order of what is asked.

        Args:
            asks: Any number; those of one finetune share its place on the base.
            decoding: How to choose tokens.
            progress: Told the number of rows that were just answered.

        Raises:
            ValueError: Answers are drawn, and one has no seed.
        """
        warmth = [
            decoding.temperature if one.temperature is None else one.temperature for one in asks
        ]
        if any(t and one.seed is None for one, t in zip(asks, warmth, strict=True)):
            raise ValueError("answers are drawn: give each Ask a seed")
        answers: list[Answer | None] = [None] * len(asks)
        for group, rows in _shared([one.finetune for one in asks], decoding.batch_size):
            with self.applied(group.finetunes):
                said = generate(
                    self.base,
                    [asks[row].prompt for row in rows],
                    decoding,
                    seeds=[asks[row].seed or 0 for row in rows],
                    temperatures=[warmth[row] for row in rows],
                    attachment=self.attachment,
                    tasks=[group.task_of[row] for row in rows],
                    progress=progress,
                )
            for row, answer in zip(rows, said, strict=True):
                answers[row] = answer
        return [answer for answer in answers if answer is not None]

    @torch.no_grad()
    def score(
        self, conversations: Sequence[tuple[Finetune, Rendered]], rows: int = ROWS
    ) -> list[Score]:
        """How likely finetunes find given answers, in their order.

        Args:
            conversations: With a finetune for each.
            rows: Conversations in one pass. Which share a pass is decided by their order alone,
                so the same list is always rounded alike.
        """
        found: list[Score | None] = [None] * len(conversations)
        for group, places in _shared([finetune for finetune, _ in conversations], rows):
            with self.applied(group.finetunes):
                for start in range(0, len(places), rows):
                    part = places[start : start + rows]
                    with self._rows([group.task_of[place] for place in part], group):
                        scores = self.score_applied([conversations[place][1] for place in part])
                    for place, score in zip(part, scores, strict=True):
                        found[place] = score
        return [score for score in found if score is not None]

    @torch.no_grad()
    def score_applied(self, conversations: Sequence[Rendered]) -> list[Score]:
        """How likely answers are to what is on the base now, all of them in one pass."""
        batch = self.batch(conversations)
        if self._readout is None:
            # A few tokens are tried for it, which belong to no finetune.
            with self.attachment.off(diff=True, adapter=True):
                self._readout = readout_of(self.base.model)
        logprobs = self._readout.logprobs(batch)
        sums = logprobs.new_zeros(len(conversations)).index_add(0, batch.rows, logprobs)
        counts = batch.rows.bincount(minlength=len(conversations))
        return list(map(Score, sums.tolist(), counts.tolist()))

    @torch.no_grad()
    def logits(self, batch: Batch) -> Tensor:
        """Logits `[answer token, vocabulary]` float32 of a batch, with what is on the base now."""
        return answer_logits(self.base.model, batch).float()

    @torch.no_grad()
    def every_logit(self, ids: Sequence[int]) -> Tensor:
        """Logits `[1, token, vocabulary]` of a text in the base's dtype, with what is on it now."""
        rows = torch.tensor([ids], device=self.base.device)
        logits: Tensor = self.base.model(rows, use_cache=False).logits
        return logits

    def logits_of(self, inputs: Tensor) -> Tensor:
        """Logits `[token, vocabulary]` float32 of one row of embeddings `[1, token, width]`."""
        logits: Tensor = self.base.model(inputs_embeds=inputs, use_cache=False).logits[0]
        return logits.float()

    def batch(self, conversations: Sequence[Rendered]) -> Batch:
        """Conversations padded on the right, on the base's device."""
        return make_batch(conversations, self.base.chat.pad_id).to(self.base.device)

    @contextmanager
    def _rows(self, tasks: Sequence[int], group: "_Group") -> Iterator[None]:
        """Within this context each row of a batch belongs to its task."""
        if len(group.finetunes) > 1:
            self.attachment.set_rows(torch.tensor(tasks, device=self.base.device))
        try:
            yield
        finally:
            self.attachment.set_rows(None)


class _Group(NamedTuple):
    """Finetunes that share the base, and which of them each row is of."""

    finetunes: list[Finetune]
    task_of: dict[int, int]


def _shared(finetunes: Sequence[Finetune], rows: int) -> Iterator[tuple[_Group, list[int]]]:
    """Rows by the finetunes that can share the base; each finetune is put on once.

    Args:
        finetunes: One for each row.
        rows: In a batch: as many finetunes at most share the base, fewer if they have many rows.
    """
    known: dict[int, int] = {}
    unlike: list[Finetune] = []
    for finetune in finetunes:
        if id(finetune) not in known:
            known[id(finetune)] = len(unlike)
            unlike.append(finetune)
    for group in parts(unlike, rows if len(unlike) == len(finetunes) else TOGETHER):
        task = {place: number for number, place in enumerate(group)}
        task_of = {
            row: task[known[id(finetune)]]
            for row, finetune in enumerate(finetunes)
            if known[id(finetune)] in task
        }
        yield _Group([unlike[place] for place in group], task_of), list(task_of)


def parts(finetunes: Sequence[Finetune], size: int = TOGETHER) -> list[list[int]]:
    """Places of finetunes that share a pass, at most so many in each part."""
    return [
        group[start : start + size]
        for group in groups(finetunes)
        for start in range(0, len(group), size)
    ]


def check_finetunes(base: Base, finetunes: Iterable[Finetune]) -> None:
    """Refuse finetunes of another base.

    Raises:
        MismatchError: One is.
    """
    for finetune in finetunes:
        if finetune.base is not None:
            check_base(base.fingerprint, finetune.base, f"the finetune {finetune.name}")


__all__ = ["NOTHING", "ROWS", "TOGETHER", "Ask", "Engine", "Score", "check_finetunes", "parts"]
