"""Questions to one loaded base, from many at a time: those that wait are answered in one batch.

Takes requests from any thread, gives futures of answers. A single thread of its own does all that
touches the model, so no caller computes, and none is in another's way. Knows nothing of inspect-ai.
"""

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from diffspeak.finetunes import (
    Finetune,
    Source,
    StoreSource,
    load_finetune,
    open_source,
    seeds_of,
)
from diffspeak.finetunes.places import split_key
from diffspeak.inference import Ask, Engine
from diffspeak.inspect_ext.loading import Loaded, read
from diffspeak.models import Answer, Decoding
from diffspeak.models.logits import check_length
from diffspeak.text.messages import Message

GATHER = 0.01
"""Seconds that a batch waits for company: requests of one moment come one after the other."""

LONGEST = 512
"""Tokens of an answer for which no length is given."""


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        messages: The conversation so far.
        finetune: Another than the loaded one, by its name; None for the loaded one.
        max_tokens: Longest answer; None for as many as there is room, up to `LONGEST`.
        temperature: 0 is greedy.
        seed: When sampling; what is drawn depends on it, on what the finetune changes, and on the
            messages alone.
    """

    messages: tuple[Message, ...]
    finetune: str | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int = 0


class Said(NamedTuple):
    """What was answered.

    Attributes:
        finetune: Who answered.
        answer: Its words.
        prompt_tokens: How long the rendered conversation was.
        stopped: Whether the answer came to its end; else it was cut off.
    """

    finetune: Finetune
    answer: Answer
    prompt_tokens: int
    stopped: bool


@dataclass(frozen=True)
class _Ready:
    """A request that can be answered."""

    future: "Future[Said]"
    finetune: Finetune
    prompt: list[int]
    decoding: Decoding
    seed: int


class Desk:
    """Where requests are handed in.

    Args:
        loaded: Who answers; the desk attaches to its base until it is closed.

    Raises:
        MismatchError: The adapter does not fit the base's linears.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._base, self._own, adapter, _ = loaded
        self._engine = Engine(self._base, None if adapter is None else adapter.diff)
        self._sources: dict[str, Source] = {}
        self._arrived: deque[tuple[Request, Future[Said]]] = deque()
        self._ready: list[_Ready] = []
        self._hand = ThreadPoolExecutor(1, thread_name_prefix="diffspeak")

    def close(self) -> None:
        """Answer what was handed in, and take everything off the base."""
        self._hand.shutdown()
        self._engine.close()

    def ask(self, request: Request) -> "Future[Said]":
        """Hand a request in.

        Returns:
            The answer to come; or what went wrong, a `DiffspeakError` where the user can mend it.
        """
        future: Future[Said] = Future()
        self._arrived.append((request, future))
        self._hand.submit(self._serve)
        return future

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self._base.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _serve(self) -> None:
        """Answer one batch of what waits; called once for each request, so all get answered."""
        if not (self._arrived or self._ready):
            return
        time.sleep(GATHER)
        while self._arrived:
            self._prepare(*self._arrived.popleft())
        batch = self._batch()
        try:
            self._answer(batch)
        except Exception as error:  # It belongs to those who asked, not to this thread.
            for one in batch:
                if not one.future.done():
                    one.future.set_exception(error)

    def _prepare(self, request: Request, future: "Future[Said]") -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            prompt = self._base.chat.prompt(request.messages)
            length = self._length(len(prompt), request.max_tokens)
            finetune = self._own if request.finetune is None else self._named(request.finetune)
            seed = _seed(request, finetune)
        except Exception as error:  # One request that is faulty harms no other.
            future.set_exception(error)
            return
        decoding = Decoding(length, request.temperature)
        self._ready.append(_Ready(future, finetune, prompt, decoding, seed))

    def _length(self, prompt: int, wanted: int | None) -> int:
        """How many tokens an answer may have."""
        model = self._base.model
        if wanted is None:
            config = model.config.get_text_config(decoder=True)
            limit = getattr(config, "max_position_embeddings", None) or prompt + LONGEST
            wanted = max(1, min(LONGEST, limit - prompt + 1))
        check_length(model, prompt + wanted - 1)
        return wanted

    def _named(self, name: str) -> Finetune:
        """Another finetune than the loaded one; a store is opened once."""
        place, key = split_key(name)
        if place not in self._sources:
            self._sources[place] = open_source(place)
        source = self._sources[place]
        if key is not None and isinstance(source, StoreSource):
            return read(source, key, self._base)
        return load_finetune(name, self._base)

    def _batch(self) -> list[_Ready]:
        """Take what can share passes with the request that has waited longest."""
        batch: list[_Ready] = []
        rest: list[_Ready] = []
        for one in self._ready:
            decoding = batch[0].decoding if batch else one.decoding
            fits = one.decoding == decoding and len(batch) < decoding.batch_size
            (batch if fits else rest).append(one)
        self._ready = rest
        return batch

    def _answer(self, batch: Sequence[_Ready]) -> None:
        # One that was opened for each of several requests goes on the base once.
        named = {one.finetune.name: one.finetune for one in batch}
        asks = [Ask(named[one.finetune.name], one.prompt, one.seed) for one in batch]
        for one, answer in zip(batch, self._engine.generate(asks, batch[0].decoding), strict=True):
            stopped = bool(answer.ids) and answer.ids[-1] in self._base.chat.stop_ids
            one.future.set_result(Said(one.finetune, answer, len(one.prompt), stopped))


def _seed(request: Request, finetune: Finetune) -> int:
    """Of one answer; a single question draws as `Interpreter.describe` does."""
    if not request.temperature:
        return request.seed
    asked = "\n".join(message.content for message in request.messages)
    return seeds_of("describe", request.seed, finetune, [asked])[0]
