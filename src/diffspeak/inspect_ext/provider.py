"""The provider: `diffspeak/FINETUNE` is a model that any inspect-ai task can talk to.

Takes conversations, gives answers of base + finetune, or base + finetune + adapter. Loaded once,
when it is made. Which formats there are and how answers come about it does not know.
"""

from typing import Any

from anyio import CapacityLimiter, to_thread
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from diffspeak.errors import UsageError
from diffspeak.inspect_ext.arguments import model_args
from diffspeak.inspect_ext.batcher import Desk
from diffspeak.inspect_ext.inspect_internals import MODEL_INFO_LOOKUP_API_KEY
from diffspeak.inspect_ext.loading import load
from diffspeak.inspect_ext.refusal import in_one_line
from diffspeak.inspect_ext.requests import output_of, request_of
from diffspeak.models import Decoding


class FinetuneAPI(ModelAPI):  # type: ignore[misc]
    """A finetune, with or without an adapter, or the base itself.

    A request may name another finetune of the same base: `extra_body={"finetune": NAME}`.

    Args:
        model_name: A finetune, as `diffspeak describe` takes it, or `base`.
        base_url: Not used.
        api_key: Not used, but for inspect-ai's own mark that it only wants to look a name up.
        config: Not used: each request has its own.
        **given: See `ModelArgs`.

    Attributes:
        question: What its adapter is asked; None without an adapter, or where it does not say.

    Raises:
        Refusal: An arg is unknown, something cannot be opened, or belongs to another base.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **given: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._desk: Desk | None = None
        self.question: str | None = None
        # To look a model up in its tables, inspect-ai makes one that it asks nothing.
        if api_key != MODEL_INFO_LOOKUP_API_KEY:
            self._load(given)

    def _load(self, given: dict[str, Any]) -> None:
        with in_one_line():
            loaded = load(self.model_name, model_args(given))
            self._desk, self.question = Desk(loaded), loaded.question

    def close(self) -> None:
        """Answer what was asked, and let go of the base."""
        if self._desk is not None:
            self._desk.close()
        self._desk = None

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Answer a conversation; those that wait at the same time share a batch.

        Raises:
            UsageError: It asks for what cannot be done, such as tools, or the model is closed.
            DiffspeakError: The finetune that it names cannot be used.
        """
        if tools:
            raise UsageError(f"diffspeak knows no tools, and {tools[0].name} is one; leave it out")
        desk, request = self._open(), request_of(input, config)
        future = desk.ask(request)
        try:
            # Only to wait, and so in a thread of its own: any number may wait.
            said = await to_thread.run_sync(
                future.result, abandon_on_cancel=True, limiter=CapacityLimiter(1)
            )
        finally:
            future.cancel()
        return output_of(self.model_name, said, request, config)

    async def count_text_tokens(self, text: str) -> int:
        """Tokens of a text, by the base's own tokenizer."""
        return self._open().count(text)

    def max_connections(self) -> int:
        """As many as share a batch."""
        return Decoding().batch_size

    def connection_key(self) -> str:
        """Each model has its own queue."""
        return str(self.model_name)

    def collapse_user_messages(self) -> bool:
        """Some templates want user and assistant in turn."""
        return True

    def collapse_assistant_messages(self) -> bool:
        """As those of users."""
        return True

    def _open(self) -> Desk:
        if self._desk is None:
            raise UsageError(f"the model diffspeak/{self.model_name} is closed: get another")
        return self._desk
