"""Load a base: any Hugging Face causal LM, by hub id or folder, or the pocket base that ships.

What `placement` chooses is logged and stands in `Base.choices`, to be written into what is made
with the base. Nothing is attached
to a model yet when it leaves here.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from diffspeak.errors import UsageError
from diffspeak.models.chat import Chat
from diffspeak.models.fingerprint import Fingerprint, fingerprint
from diffspeak.models.linears import left_alone
from diffspeak.models.placement import (
    device_of,
    dtype_of,
    keep_gradients,
    placement,
    quantization,
)
from diffspeak.models.pocket import NAME as POCKET
from diffspeak.models.pocket import base_folder
from diffspeak.models.transformers_internals import attention_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Base:
    """A base model ready for use; its own parameters are frozen.

    Attributes:
        name: Where it came from.
        model: In evaluation mode, gradients off.
        tokenizer: Its tokenizer.
        chat: Renders conversations for it.
        fingerprint: What makes it this base.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    chat: Chat
    fingerprint: Fingerprint

    def __repr__(self) -> str:
        """One line, without a tensor."""
        dtype = str(self.dtype).removeprefix("torch.")
        return f"Base({self.name!r}, {self.fingerprint}, {dtype} on {self.device})"

    @property
    def device(self) -> torch.device:
        """Where its inputs go."""
        return _embedding(self.model).device

    @property
    def dtype(self) -> torch.dtype:
        """What its hidden states are computed in."""
        return _embedding(self.model).dtype

    @property
    def choices(self) -> dict[str, Any]:
        """What was chosen for this machine, for a manifest."""
        return {
            "device": self.device.type,
            "dtype": str(self.dtype).removeprefix("torch."),
            "attention": attention_of(self.model),
            "threads": torch.get_num_threads() if self.device.type == "cpu" else None,
        }


def load_base(
    source: str | Path,
    *,
    dtype: str = "auto",
    device: str = "auto",
    attention: str = "auto",
    revision: str | None = None,
    quantize: str = "none",
    device_map: str = "none",
    tokenizer: str | Path | None = None,
) -> Base:
    """Load a base model and its tokenizer.

    Args:
        source: Hub id or folder, or `pocket`: the base that ships with us, also where a folder of
            that name stands in the current one; that is `./pocket`.
        dtype: `float32`, `bfloat16`, or `auto`: bfloat16 where this machine multiplies it faster
            than float32, else float32.
        device: As torch names it, or `auto`: a GPU if there is one.
        attention: An implementation transformers knows (`sdpa`, `eager`, ...), or `auto`: SDPA
            where the family has it.
        revision: Of a hub repository.
        quantize: `nf4` holds the linears in four bits (through bitsandbytes), `none` as they are.
        device_map: How a base too large for one GPU is spread over several: `auto`, `balanced`,
            `sequential`, as transformers knows them; `none` keeps it on `device`.
        tokenizer: Folder or hub id of a tokenizer to use in place of the base's: that of a
            finetune which added tokens. The base's vocabulary grows by what it adds.

    Raises:
        UsageError: The base is unknown or incomplete, or an argument is unknown; the message says
            which.
    """
    place = device_of(device)
    chosen = dtype_of(dtype, place)
    name = str(source)
    # A path is never the pocket base: Path("./pocket") reads as "pocket".
    source = str(base_folder()) if source == POCKET else name
    options: dict[str, Any] = {"revision": revision} if revision else {}
    attention_options = {} if attention == "auto" else {"attn_implementation": attention}
    quantized = quantization(quantize, chosen)
    spread = placement(device_map, place, placed=bool(quantized))
    own, model, missing = _fetched(
        source, options, {"dtype": chosen, **attention_options, **quantized, **spread}
    )
    _check_complete(source, own, missing)
    base = make_base(name, model if spread else model.to(place), own)
    return base if tokenizer is None else with_tokenizer(base, str(tokenizer))


def _fetched(
    source: str, options: dict[str, Any], of_model: dict[str, Any]
) -> tuple[PreTrainedTokenizerBase, Any, set[str]]:
    """Tokenizer, model and the names of what the model's files lack; no code of theirs is run."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **of_model,
            **options,
        )
    except Exception as error:
        # transformers, tokenizers and safetensors raise what they choose for a broken file.
        raise UsageError(_why_not(source, error)) from error
    model, found = loaded
    keep_gradients(model)
    return tokenizer, model, found["missing_keys"]


def load_tokenizer(source: str, **options: Any) -> PreTrainedTokenizerBase:
    """A tokenizer alone; no code of its files is run.

    Raises:
        UsageError: There is none, or it is broken.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, **options
        )
    except Exception as error:
        # It raises what it chooses for a broken file.
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"{source} has no tokenizer that can be loaded: {reason}") from error
    return tokenizer


def stored_dtype(base: Base) -> torch.dtype:
    """What a base's numbers are stored in, whatever it was loaded in."""
    source = str(base_folder()) if base.name == POCKET else base.name
    try:
        dtype = AutoConfig.from_pretrained(source, trust_remote_code=False).dtype
    except Exception:
        # It was made in memory, or is no longer there.
        return base.dtype
    return dtype if isinstance(dtype, torch.dtype) else base.dtype


def with_tokenizer(base: Base, source: str) -> Base:
    """A base with a finetune's own tokenizer, and room for the tokens that this one adds.

    The rows of added tokens are the mean of the others: the base itself knows nothing of them. It
    keeps its fingerprint, so that what was made for the base is still taken.

    Args:
        base: Nothing attached; its vocabulary grows in place.
        source: A folder or hub id with a tokenizer.

    Raises:
        UsageError: There is no tokenizer, or the base is quantized.
    """
    tokenizer = load_tokenizer(source)
    rows = len(_embedding(base.model))
    needed = max(tokenizer.get_vocab().values(), default=0) + 1
    if needed > rows:
        if base.fingerprint.linears is None:
            raise UsageError(
                f"{base.name} is quantized, so its vocabulary cannot grow: load it in bfloat16"
            )
        base.model.resize_token_embeddings(needed, mean_resizing=False)
        for end in (base.model.get_input_embeddings(), base.model.get_output_embeddings()):
            weight = getattr(end, "weight", None)
            if weight is not None:
                weight.data[rows:] = weight.data[:rows].float().mean(0).to(weight.dtype)
    base.model.requires_grad_(False)
    own = fingerprint(base.model, tokenizer)
    known = replace(base.fingerprint, tokenizer=own.tokenizer, template=own.template)
    return Base(base.name, base.model, tokenizer, _chat(base.model, tokenizer), known)


def base_folder_of(base: Base) -> Path | None:
    """The folder that a base was loaded from, if it is on this machine and still there."""
    folder = base_folder() if base.name == POCKET else Path(base.name).expanduser()
    return folder if folder.is_dir() else None


def make_base(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Base:
    """Freeze a model that is in memory already and make a base of it."""
    model.requires_grad_(False).eval()
    base = Base(name, model, tokenizer, _chat(model, tokenizer), fingerprint(model, tokenizer))
    log.info("base %s: %s, %s", name, base.fingerprint, base.choices)
    with suppress(UsageError):  # Where no blocks are found, targets have to be named.
        _tell_left_alone(name, left_alone(model))
    return base


def _tell_left_alone(name: str, alone: list[str]) -> None:
    if alone:
        log.warning(
            "%s: %d tensors of the blocks are no linears, such as %s; finetunes and adapters "
            "leave them alone",
            name,
            len(alone),
            alone[0],
        )


def _chat(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Chat:
    """The chat, which also stops where the model's own generation config says."""
    stops = getattr(model.generation_config, "eos_token_id", None)
    return Chat(tokenizer, stops if isinstance(stops, list) else [] if stops is None else [stops])


def _embedding(model: PreTrainedModel) -> torch.Tensor:
    weight: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    return weight


def _check_complete(source: str, tokenizer: PreTrainedTokenizerBase, missing: set[str]) -> None:
    """Refuse what transformers would fill up: weights at random, a vocabulary with nothing."""
    if missing:
        raise UsageError(
            f"{source} lacks {len(missing)} of the model's weights, {min(missing)} the first; "
            "save the whole model there"
        )
    if len(tokenizer) <= len(tokenizer.added_tokens_decoder):
        raise UsageError(f"{source} has no tokenizer; save the model's tokenizer there as well")


def _why_not(source: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    if Path(source).exists():
        return f"{source} is no model that transformers can load: {reason}"
    return (
        f"base {source} was not found: there is no such folder, and as a hub id it failed "
        f"({reason}); check the name, or that the model is downloaded if you are offline"
    )
