"""A plain LoRA on a base: factors of its linears, as PEFT would load them from the folder.

Takes an adapter's files and a base, gives a low-rank finetune, or nothing where it takes more than
factors of the blocks' linears; PEFT itself merges those (`through_peft`). What a folder leaves
open is filled in as PEFT does, and noted: that is what runs wherever the adapter is loaded.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.finetunes.adapter_files import CONFIG, AdapterFiles
from diffspeak.finetunes.experts import converts_experts
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.names import Renaming, renaming_of
from diffspeak.finetunes.peft_format import FACTOR, factors, modules_of, oddities
from diffspeak.finetunes.peft_library import LoraConfig
from diffspeak.finetunes.targets import targeted
from diffspeak.lora import Diff, DiffLinear
from diffspeak.models import Base, plain_modules, plain_shapes
from diffspeak.models.linears import shape_of

DEFAULTS = {"r": 8, "lora_alpha": 8}
"""PEFT's, for what a config leaves out."""


def read_plain(files: AdapterFiles, base: Base, name: str) -> Finetune | None:
    """The finetune that a plain LoRA is; None if there is more to it than factors of linears.

    Raises:
        CorruptFileError: Tensors and config do not belong together.
        MismatchError: It does not fit the base.
    """
    modules = modules_of(list(files.tensors))
    if oddities(files.config) or files.config.get("target_modules") is None or not modules:
        return None
    every = plain_modules(base.model)
    try:
        renaming = renaming_of(modules, every, str(files.weights), base.name)
    except MismatchError:
        if converts_experts(base.model):
            return None
        raise
    shapes = plain_shapes(base.model)
    if not {renaming.to_base(module) for module in modules} <= shapes.keys():
        return None
    notes = [*_check_targets(files, modules, renaming, base), *_defaulted(files.config)]
    paired, halves = _paired(files)
    if halves:
        notes.append(f"{len(halves)} modules have no lora_B, {min(halves)} one of them: no change")
    diff = _fitting(factors(paired), renaming, base, files) if paired.tensors else {}
    if not any(change.norm() for change in diff.values()):
        notes.append("it changes nothing: every product of its factors is zero, as if untrained")
    return Finetune(name, diff, notes=tuple(notes))


def _check_targets(
    files: AdapterFiles, found: Collection[str], renaming: Renaming, base: Base
) -> list[str]:
    """Refuse tensors that the config does not target; note targets that have no tensors."""
    config, where = files.config, files.folder / CONFIG
    known = LoraConfig.__dataclass_fields__
    every = {renaming.to_file(name): name for name in plain_modules(base.model)}
    linears = {renaming.to_file(name) for name in plain_shapes(base.model)}
    try:
        LoraConfig(**{key: value for key, value in config.items() if key in known})
        wanted = targeted(config, [n for n in every if n], {n for n in linears if n})
    except (TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{where} names no targets: {error}") from error
    ignored = sorted(set(found) - wanted)
    if ignored:
        raise CorruptFileError(
            f"{files.folder}: config and tensors disagree: {ignored[0]} has tensors and is not "
            f"targeted by the config ({len(ignored)} such modules); save the adapter again"
        )
    lacking = sorted(wanted - set(found))
    for one in lacking:
        if not _takes_factors(base, every[one]):
            raise CorruptFileError(
                f"{files.folder}: config and tensors disagree: {one} is targeted by the config and "
                "is no linear; save the adapter again"
            )
    if not lacking:
        return []
    return [
        f"{len(lacking)} modules that its config targets have no tensors, {lacking[0]} one of "
        "them: they are the base's own"
    ]


def _takes_factors(base: Base, name: str) -> bool:
    """Whether PEFT has a LoRA for a module: for linears, embeddings, convolutions."""
    module = base.model.get_submodule(name)
    return (
        isinstance(module, DiffLinear)
        or shape_of(module) is not None
        or (not any(module.children()) and getattr(module, "weight", None) is not None)
    )


def _defaulted(config: Mapping[str, Any]) -> list[str]:
    return [
        f"its config lacks {key}: {value}, as peft has it by default"
        for key, value in DEFAULTS.items()
        if key not in config
    ]


def _paired(files: AdapterFiles) -> tuple[AdapterFiles, list[str]]:
    """The same without modules that lack B, which PEFT begins with zeros; and those modules."""
    halves = []
    tensors = dict(files.tensors)
    for key in files.tensors:
        match = FACTOR.fullmatch(key)
        if match and match["side"] == "A" and key.replace(".lora_A.", ".lora_B.") not in tensors:
            halves.append(match["module"])
            del tensors[key]
    return replace(files, tensors=tensors, config={**DEFAULTS, **files.config}), halves


def _fitting(diff: Diff, renaming: Renaming, base: Base, files: AdapterFiles) -> Diff:
    shapes = plain_shapes(base.model)
    for module, change in diff.items():
        shape = shapes[renaming.to_base(module)]
        found, wanted = (change.A.shape[-1], change.B.shape[-2]), (shape.inputs, shape.outputs)
        if found != wanted:
            raise MismatchError(
                f"{files.weights}, {module}: its factors map {found[0]} to {found[1]}, and in "
                f"{base.name} it maps {wanted[0]} to {wanted[1]}; give the base it was made from"
            )
    return {renaming.to_base(module): change.float() for module, change in diff.items()}
