"""Who writes a corpus: a base, or an LLM of a provider.

Takes prompts and seeds, gives a reply to each. An answer that was cut off loses its last, broken
sentence. Knows nothing of topics.
"""

from collections.abc import Sequence

from diffspeak.experiments.corpus import CorpusConfig
from diffspeak.models import Base, Decoding, generate
from diffspeak.scoring.llm import LLM
from diffspeak.scoring.replies import Reply
from diffspeak.text.messages import Message


class BaseWriter:
    """A base model that writes."""

    def __init__(self, base: Base, config: CorpusConfig) -> None:
        self.base, self.name = base, f"{base.name} {base.fingerprint}"
        self.decoding = Decoding(config.tokens, config.temperature, config.batch)

    def write(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Reply]:
        """Answer in one batch."""
        chat = self.base.chat
        ids = [chat.prompt((Message("user", prompt),)) for prompt in prompts]
        answers = generate(self.base, ids, self.decoding, seeds=seeds)
        return [
            _whole(Reply(answer.text.strip(), cut=answer.ids[-1] not in chat.stop_ids))
            for answer in answers
        ]


class LLMWriter:
    """An LLM that writes, with the settings it was opened with."""

    def __init__(self, llm: LLM) -> None:
        self.llm, self.name = llm, llm.name

    def write(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Reply]:
        """Ask for all at once."""
        return [_whole(reply) for reply in self.llm.ask(prompts, seeds)]


def _whole(reply: Reply) -> Reply:
    """Of a text that was cut off, up to the last end of a sentence; all of it if there is none."""
    end = max(reply.text.rfind(mark) for mark in ".!?")
    return reply._replace(text=reply.text[: end + 1]) if reply.cut and end >= 0 else reply
