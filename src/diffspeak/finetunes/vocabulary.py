"""Finetunes that added tokens: their embedding has rows that the base has not.

Takes a finetune's tensor and a base, gives the tensor, or an error that says how many tokens were
added, which, and how the base is given room for them.
"""

from contextlib import suppress
from pathlib import Path

from torch import Tensor

from diffspeak.errors import DiffspeakError, MismatchError
from diffspeak.io.files import read_json
from diffspeak.models import Base

TOKENIZER = "tokenizer.json"
_SHOWN = 4


def fitted(folder: Path, name: str, tensor: Tensor, base: Base) -> Tensor:
    """A tensor of embedding or head with as many tokens as the base has; others as they are.

    Rows that no token of the finetune's tokenizer reaches are padding, and left out.

    Args:
        folder: Of the finetune, with the tokenizer that it may have brought along.
        name: Of the tensor, as the plain base or PEFT calls it.
        tensor: Of the finetune.
        base: Whose vocabulary counts.

    Raises:
        MismatchError: Tokens were added, or taken away.
    """
    axis = _token_axis(name, tensor, base)
    if axis is None:
        return tensor
    there, here = tensor.shape[axis], _rows(name, base)

    if there > here:
        reached = _tokens(folder)
        if not reached or max(reached.values()) >= here:
            raise MismatchError(_added(folder, there, here, base, reached))
        return tensor.narrow(axis, 0, here)
    if there < here:
        raise MismatchError(
            f"{folder} has {there} tokens where {base.name} has {here}: its vocabulary was cut; "
            "give a base with the same tokens, saved with its tokenizer"
        )
    return tensor


def _token_axis(name: str, tensor: Tensor, base: Base) -> int | None:
    """Which axis of a tensor counts tokens; None if none does."""
    if tensor.dim() != 2 or not _rows(name, base):
        return None
    if ".lora_embedding_A" in name:
        return 1
    return None if ".lora_" in name else 0


def _rows(name: str, base: Base) -> int:
    """How many tokens the base has, where a name is of its embedding or head; else 0."""
    module = name.partition(".lora_")[0].removesuffix(".weight")
    for part in (".base_layer", ".original_module", ".modules_to_save.default"):
        module = module.replace(part, "")
    for end in (base.model.get_input_embeddings(), base.model.get_output_embeddings()):
        with suppress(AttributeError):
            if end is not None and base.model.get_submodule(module) is end:
                weight: Tensor = end.weight  # type: ignore[assignment]
                return len(weight)
    return 0


def _added(folder: Path, there: int, here: int, base: Base, tokens: dict[str, int]) -> str:
    """What to say of tokens that were added."""
    new = [name.replace("\n", " ")[:40] for name, id in tokens.items() if id >= here]
    shown = [*new[:_SHOWN], *(["..."] if len(new) > _SHOWN else [])]
    which = f" ({', '.join(shown)})" if shown else ""
    return (
        f"{folder} adds {len(new) or there - here} tokens to the {here} of {base.name}{which}: "
        f"load the base with the finetune's tokenizer, which makes room for them: --tokenizer "
        f"{folder}, or load_base(..., tokenizer=...)"
    )


def _tokens(folder: Path) -> dict[str, int]:
    """The ids of a folder's own tokenizer, as far as its file tells; empty without one."""
    try:
        content = read_json(folder / TOKENIZER)
        added = {str(token["content"]): int(token["id"]) for token in content["added_tokens"]}
        vocabulary = content["model"].get("vocab")
    except (DiffspeakError, LookupError, TypeError, ValueError, AttributeError):
        return {}
    own = vocabulary if isinstance(vocabulary, dict) else {}
    rows = len(vocabulary) - 1 if isinstance(vocabulary, list) else 0
    return {"": rows, **{str(k): v for k, v in own.items() if isinstance(v, int)}, **added}
