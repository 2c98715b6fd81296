"""A chat rendered to token ids and a mask of its answer, and when an answer has ended.

Takes a tokenizer and messages, gives plain lists of ids. It knows the tokenizer's chat template
and nothing of models or training. No marker token is ever searched for: the prompt is what the
template renders with its generation prompt, the answer is what we put behind it, and the end of
turn is what the template puts behind that.

An empty think block (`<think>`, `</think>` with nothing between, which Qwen3 renders when
`enable_thinking=False`) belongs to the prompt here: at inference the model is given it, so it is
never learned. The paper's public code searched for the text that opens the assistant's turn and
took all behind it as the answer, the think block included.

Only the template writes control tokens. Where a message or an answer spells one out (`<|im_end|>`
in a question, `</think>` in a label) it is text and is encoded as text.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from transformers import PreTrainedTokenizerBase

from diffspeak.errors import UsageError
from diffspeak.text.messages import Message

FALLBACK_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '\n\n' if not loop.first }}{{ message['role'].capitalize() + ': ' + message['content'] }}"
    "{% endfor %}"
    "{{ '\n\nAssistant:' if add_generation_prompt }}"
)
"""For a base without a chat template. Ours; the answer ends with the end-of-text token."""

BREAK = "\ufdd0"
"""Parts text that must not be encoded as one. Unicode keeps this code point out of all text for
uses like this; in a message it is left out."""

CACHED = 1 << 15
"""Conversations kept rendered; some tens of megabytes at most."""


class Rendered(NamedTuple):
    """One conversation as tokens.

    Attributes:
        ids: Token ids, prompt first.
        prompt_length: How many of them are prompt.
        answer_end: Where the answer ends: `ids[prompt_length:answer_end]` is what is learned.
    """

    ids: list[int]
    prompt_length: int
    answer_end: int

    @property
    def answer_mask(self) -> list[bool]:
        """For each token whether it belongs to the answer."""
        return [self.prompt_length <= i < self.answer_end for i in range(len(self.ids))]


class Renderer(Protocol):
    """What makes a conversation out of messages: a `Chat`, or what stands in for one."""

    @property
    def pad_id(self) -> int:
        """What fills a batch up."""
        ...

    def with_answer(self, messages: Sequence[Message], answer: str, *, learn_end: bool) -> Rendered:
        """See `Chat.with_answer`."""
        ...


class Chat:
    """Renders messages through a tokenizer's chat template.

    Args:
        tokenizer: Any Hugging Face tokenizer; one without a template gets a plain one.

    Attributes:
        stop_ids: Tokens that end an answer.
        pad_id: What fills a batch up; the attention mask hides it. The end-of-text token where
            the tokenizer has no padding token.

    Raises:
        UsageError: The tokenizer has no token that could end an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, extra_stops: Sequence[int] = ()) -> None:
        self.tokenizer = tokenizer
        self.has_template = bool(tokenizer.chat_template)
        self._template = None if self.has_template else FALLBACK_TEMPLATE
        # Finetunes share most of their samples, and rendering costs as much as a tenth of a step.
        self._rendered = lru_cache(CACHED)(self._render_answered)
        self._control = _control_tokens(tokenizer)
        spelled = "|".join(re.escape(token) for token in self._control.values())
        self._opens_control = re.compile(f"(?={spelled or '(?!)'}).", re.DOTALL)
        probe = (Message("user", "Hi"), Message("assistant", "Yes"))
        self.end_id = self._end_of_turn(probe)
        self.stop_ids = {self.end_id, *extra_stops}
        if tokenizer.eos_token_id is not None:
            self.stop_ids.add(tokenizer.eos_token_id)
        pad = tokenizer.pad_token_id
        self.pad_id: int = self.end_id if pad is None else pad

    def __reduce__(self) -> tuple[type["Chat"], tuple[PreTrainedTokenizerBase, list[int]]]:
        """Be sent to another process without what was rendered so far."""
        return Chat, (self.tokenizer, sorted(self.stop_ids))

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation that the model is to answer.

        Raises:
            UsageError: The template refuses these messages (some know no system role).
        """
        return self._encode(self._prompt_text(messages))

    def with_answer(self, messages: Sequence[Message], answer: str, *, learn_end: bool) -> Rendered:
        """Token ids of a conversation and its answer, ended by the end-of-turn token.

        Args:
            messages: What stands before the answer.
            answer: The assistant's reply; surrounding white space is dropped, as templates do.
            learn_end: Whether the end-of-turn token counts as answer.

        Raises:
            UsageError: The answer is empty.
        """
        ids, prompt_length = self._rendered(tuple(messages), answer)
        return Rendered([*ids, self.end_id], prompt_length, len(ids) + learn_end)

    def _render_answered(
        self, messages: tuple[Message, ...], answer: str
    ) -> tuple[tuple[int, ...], int]:
        """Token ids up to the answer's end, and how many of them are prompt."""
        answer = self._as_text(answer.strip())
        if not answer:
            raise UsageError("an answer is empty; give every sample some text to answer with")
        text = self._prompt_text(messages)
        if not self.has_template:
            answer = f" {answer}"
        prompt, both = self._encode(text), self._encode(text + answer)
        if both[: len(prompt)] != prompt:
            # A merge crosses the boundary. When generating, the prompt stands alone.
            both = prompt + self._encode(answer)
        return tuple(both), len(prompt)

    def text(self, ids: Sequence[int]) -> str:
        """The words of an answer: up to its end, special tokens left out, trimmed."""
        stop = next((i for i, token in enumerate(ids) if token in self.stop_ids), len(ids))
        words = self.tokenizer.decode(list(ids[:stop]), skip_special_tokens=True)
        return str(words).strip()

    def _prompt_text(self, messages: Sequence[Message]) -> str:
        return self._render(messages, add_generation_prompt=True)

    def _render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        try:
            text = self.tokenizer.apply_chat_template(
                [{"role": m.role, "content": self._as_text(m.content)} for m in messages],
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                enable_thinking=False,
            )
        except Exception as error:
            # Templates raise whatever Jinja or their author chose.
            raise UsageError(
                f"the chat template of {self.tokenizer.name_or_path} refuses the messages: {error}"
            ) from error
        return str(text)

    def _as_text(self, content: str) -> str:
        """Part each control token that `content` spells out behind its first character."""
        return self._opens_control.sub(rf"\g<0>{BREAK}", content)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in text.split(BREAK):
            ids += self.tokenizer(piece, add_special_tokens=False)["input_ids"]
        return ids

    def _end_of_turn(self, probe: tuple[Message, Message]) -> int:
        """The first control token that the template puts behind an answer, or the end of text."""
        if self.has_template:
            whole = self._render(probe, add_generation_prompt=False)
            tail = self._encode(whole[whole.rindex(probe[1].content) + len(probe[1].content) :])
            # Some templates put a space or a line break before it; alone, those end nothing.
            ends = [token for token in tail if token in self._control]
            if ends:
                return ends[0]
        if self.tokenizer.eos_token_id is None:
            raise UsageError(
                f"the tokenizer {self.tokenizer.name_or_path} has neither an end-of-text token nor "
                "a chat template that ends a turn; set tokenizer.eos_token"
            )
        return int(self.tokenizer.eos_token_id)


def _control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Tokens that steer the model: the special ones, and what else the template writes.

    Qwen3's `<think>` is not marked as special. Line breaks are added tokens in Gemma, but text.
    """
    template = str(tokenizer.chat_template)
    return {
        token_id: token.content
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token.special or (token.content in template and not token.content.isspace())
    }
