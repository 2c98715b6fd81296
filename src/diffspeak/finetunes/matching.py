"""What a finetune's names and tensors are in a base: its modules, its parameters, its tokens.

Classes were renamed and nested over the years, and the text model of a multimodal one also stands
alone. All names of a file are changed by one rule, or none fits.
"""

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from diffspeak.errors import DiffspeakError, MismatchError
from diffspeak.io.files import read_json
from diffspeak.lora import Diff
from diffspeak.models import Base, plain_shapes

TOKENIZER = "tokenizer.json"
_SHOWN = 4


class Renaming(NamedTuple):
    """How names begin in a file, and how the same begin in the base."""

    theirs: str
    ours: str

    def to_base(self, name: str) -> str:
        """The base's name for a file's; as it is where the rule is for others."""
        if not name.startswith(self.theirs) or (self.ours and name.startswith(self.ours)):
            return name
        return self.ours + name.removeprefix(self.theirs)

    def to_file(self, name: str) -> str | None:
        """The file's name for a base's; None for what a file of this kind has no name for."""
        if not name.startswith(self.ours):
            return None
        return self.theirs + name.removeprefix(self.ours)


_RENAMINGS = (
    Renaming("", ""),
    Renaming("language_model.model.", "model.language_model."),
    Renaming("language_model.model.", "model."),
    Renaming("model.language_model.", "model."),
    Renaming("model.", "model.language_model."),
    Renaming("", "model."),
    Renaming("", "transformer."),
)
"""What current transformers calls older and neighboring names; the first that fits all counts."""


def renaming_of(names: Iterable[str], known: Collection[str], source: str, base: str) -> Renaming:
    """The rule by which every name of a file is one of the base's.

    Args:
        names: Of modules or parameters, as the file has them.
        known: The base's.
        source: The file, for messages.
        base: The base, for messages.

    Raises:
        MismatchError: No rule finds all of them in the base; the message names one that is not.
    """
    names, known = list(names), set(known)
    best, most = _RENAMINGS[0], -1
    for renaming in _RENAMINGS:
        found = len({renaming.to_base(name) for name in names} & known)
        if found == len(names):
            return renaming
        if found > most:
            best, most = renaming, found
    stranger = next(name for name in names if best.to_base(name) not in known)
    unknown, said = len(names) - most, f"{source} changes {stranger}, which {base} has not"
    if 2 * unknown >= len(names):
        raise MismatchError(
            f"{said}: it was made from another architecture; give the base it was made from"
        )
    raise MismatchError(
        f"{said} ({unknown} of its {len(names)} names are unknown there): it was made from a "
        "larger model of this kind, or was damaged; give that base, or save it again"
    )


def base_names(
    names: Iterable[str], known: Collection[str], source: str, base: str
) -> dict[str, str]:
    """Map each name of a file to the base's name for it; see `renaming_of`."""
    names = list(names)
    renaming = renaming_of(names, known, source, base)
    return {name: renaming.to_base(name) for name in names}


def fitted_diff(diff: Diff, renaming: Renaming, path: Path, base: Base) -> Diff:
    """The changes that a file holds, by the base's names for their modules, in float32.

    Raises:
        MismatchError: Factors do not have the shape of their linear.
    """
    shapes = plain_shapes(base.model)
    for module, change in diff.items():
        shape = shapes[renaming.to_base(module)]
        found, wanted = (change.A.shape[-1], change.B.shape[-2]), (shape.inputs, shape.outputs)
        if found != wanted:
            raise MismatchError(
                f"{path}, {module}: its factors map {found[0]} to {found[1]}; they do not map "
                f"{wanted[0]} to {wanted[1]}, as it does in {base.name}; give the base it was made "
                "from"
            )
    return {renaming.to_base(module): change.float() for module, change in diff.items()}


def untrained(diff: Diff) -> list[str]:
    """A note, if a low-rank finetune changes nothing."""
    if any(change.norm() for change in diff.values()):
        return []
    return ["it changes nothing: every product of its factors is zero, as if untrained"]


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
    here = _tokens_of(base, name)
    if tensor.dim() != 2 or not here or (".lora_" in name and ".lora_embedding_A" not in name):
        return tensor
    axis = 1 if ".lora_embedding_A" in name else 0
    there = tensor.shape[axis]
    if there > here:
        reached = _tokenizer_ids(folder)
        if not reached or max(reached.values()) >= here:
            raise MismatchError(_added(folder, there, here, base, reached))
        return tensor.narrow(axis, 0, here)
    if there < here:
        raise MismatchError(
            f"{folder} has {there} tokens where {base.name} has {here}: its vocabulary was cut; "
            "give a base with the same tokens, saved with its tokenizer"
        )
    return tensor


def _tokens_of(base: Base, name: str) -> int:
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


def _tokenizer_ids(folder: Path) -> dict[str, int]:
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
