"""Load a base: any Hugging Face causal LM, by hub id or folder, or the pocket base that ships.

The one place where device, dtype and attention implementation are chosen; the choice is logged
and stands in `Base.choices`, to be written into what is made with the base. Nothing is attached
to a model yet when it leaves here.
"""

import logging
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from diffspeak.errors import UsageError
from diffspeak.models.chat import Chat
from diffspeak.models.fingerprint import Fingerprint, fingerprint
from diffspeak.models.linears import left_alone
from diffspeak.models.pocket import NAME as POCKET
from diffspeak.models.pocket import base_folder
from diffspeak.models.transformers_internals import attention_of

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Not float16: it flushes the smallest weights of a bfloat16 checkpoint, which changes the base."""


DEVICE_MAPS = ("auto", "balanced", "sequential")


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
    place = _device(device)
    chosen = _dtype(dtype, place)
    name = str(source)
    # A path is never the pocket base: Path("./pocket") reads as "pocket".
    source = str(base_folder()) if source == POCKET else name
    options: dict[str, Any] = {"revision": revision} if revision else {}
    attention_options = {} if attention == "auto" else {"attn_implementation": attention}
    quantized = _quantization(quantize, chosen)
    spread = _placement(device_map, place, placed=bool(quantized))
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
    _keep_gradients(model)
    return tokenizer, model, found["missing_keys"]


def _keep_gradients(model: PreTrainedModel) -> None:
    """Have four-bit linears on a CPU stay as they are, so that gradients flow through them.

    On processors with bfloat16 instructions bitsandbytes repacks a linear for good when it first
    runs without gradients, into a form that has none.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


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


def _quantization(name: str, dtype: torch.dtype) -> dict[str, Any]:
    """What transformers is told so that it quantizes."""
    if name == "none":
        return {}
    if name != "nf4":
        raise UsageError(f"quantize {name} is unknown; use none or nf4")
    if find_spec("bitsandbytes") is None:
        raise UsageError("quantize nf4 needs bitsandbytes: pip install 'diffspeak[quantize]'")
    _import_bitsandbytes()
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": config}


def _import_bitsandbytes() -> None:
    """Import it here, and nowhere before: on some processors it warns of kernels that it lacks.

    They would only make it faster, so the warning is shown with --debug alone.
    """
    theirs = logging.getLogger("bitsandbytes")
    before = theirs.level
    if not log.isEnabledFor(logging.DEBUG):
        theirs.setLevel(logging.ERROR)
    try:
        import_module("bitsandbytes")
    finally:
        theirs.setLevel(before)


def _placement(name: str, place: torch.device, *, placed: bool) -> dict[str, Any]:
    """What transformers is told of devices; `placed`: the model cannot be moved afterwards."""
    if name == "none":
        return {"device_map": {"": place}} if placed else {}
    if name not in DEVICE_MAPS:
        raise UsageError(f"device_map {name} is unknown; use none, {', '.join(DEVICE_MAPS)}")
    if find_spec("accelerate") is None:
        raise UsageError(f"device_map {name} needs accelerate: pip install accelerate")
    return {"device_map": name}


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


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"there is no device {name} here: {error}; use auto or cpu") from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return faster_dtype(device)
    if name not in DTYPES:
        raise UsageError(f"dtype {name} is unknown; use auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def faster_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU; on a CPU only where it multiplies at least 1.2 times as fast."""
    if device.type != "cpu":
        return torch.bfloat16
    speeds = {dtype: _seconds(dtype) for dtype in (torch.float32, torch.bfloat16)}
    faster = speeds[torch.float32] > 1.2 * speeds[torch.bfloat16]
    return torch.bfloat16 if faster else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """Median seconds of one product of the size that a small model's layers have."""
    x, w = torch.ones(512, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        torch.nn.functional.linear(x, w)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


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
