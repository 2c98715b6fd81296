"""PEFT adapters: as factors where that is all they are, else as PEFT itself merges them.

What a folder leaves open is filled in as PEFT does, and noted: that is what runs wherever the
adapter is loaded.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffspeak.errors import CorruptFileError, MismatchError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats import checkpoint
from diffspeak.finetunes.formats.peft_files import (
    CONFIG,
    PICKLED,
    WEIGHTS,
    AdapterFiles,
    factors,
    oddities,
    read_adapter,
    read_config,
    read_peft,
    sides_of,
    unknown_keys,
)
from diffspeak.finetunes.formats.peft_library import LoraConfig
from diffspeak.finetunes.formats.peft_merge import converts_experts, merged_by_peft
from diffspeak.finetunes.formats.peft_targets import targeted
from diffspeak.finetunes.formats.source import Format, SingleSource, text_or_none
from diffspeak.finetunes.matching import Renaming, fitted_diff, renaming_of, untrained
from diffspeak.finetunes.named_bases import other_base
from diffspeak.lora import Diff, DiffLinear
from diffspeak.models import Base, plain_modules, plain_shapes
from diffspeak.models.linears import shape_of

DEFAULTS = {"r": 8, "lora_alpha": 8}
"""PEFT's, for what a config leaves out."""


def is_peft(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter; a config alone beside a whole model is a leftover."""
    if not (folder / CONFIG).is_file():
        return False
    weights = any((folder / name).is_file() for name in (WEIGHTS, PICKLED))
    return weights or not checkpoint.is_checkpoint(folder)


class PeftSource(SingleSource):
    """A PEFT adapter."""

    def read(self, key: str, base: Base) -> Finetune:
        """As low-rank factors if that is all it is, else as PEFT itself merges it."""
        del key
        files = read_adapter(self.path)
        found = read_plain(files, base, self.name) or merged_by_peft(files, base, self.name)
        said = (*other_base(files.config, base), *_beside(files))
        return replace(found, notes=(*found.notes, *said))

    def base_name(self) -> str | None:
        """As its config has it."""
        return text_or_none(read_config(self.path).get("base_model_name_or_path"))

    def diff_without_base(self, key: str) -> Diff | None:
        """The factors of a plain LoRA."""
        del key
        files = read_adapter(self.path)
        plain = not oddities(files.config) and sides_of(files.tensors) is not None
        return read_peft(self.path) if plain else None


def _beside(files: AdapterFiles) -> list[str]:
    """Notes, if a whole model lies beside it, or its config says what the installed peft lacks."""
    models = (checkpoint.SINGLE, checkpoint.INDEX)
    notes = [
        f"its folder holds a whole model too ({name}), which was not read"
        for name in models
        if (files.folder / name).is_file()
    ][:1]
    if keys := unknown_keys(files.config):
        notes.append(
            f"its config says {', '.join(sorted(keys))}, which peft does not know and ignores"
        )
    return notes


def read_plain(files: AdapterFiles, base: Base, name: str) -> Finetune | None:
    """The finetune that a plain LoRA is; None if there is more to it than factors of linears.

    Raises:
        CorruptFileError: Tensors and config do not belong together.
        MismatchError: It does not fit the base.
    """
    sides = sides_of(files.tensors)
    if oddities(files.config) or files.config.get("target_modules") is None or not sides:
        return None
    every = plain_modules(base.model)
    try:
        renaming = renaming_of(sides, every, str(files.weights), base.name)
    except MismatchError:
        if converts_experts(base.model):
            return None
        raise
    shapes = plain_shapes(base.model)
    if not {renaming.to_base(module) for module in sides} <= shapes.keys():
        return None
    notes = [*_check_targets(files, sides, renaming, base), *_defaulted(files.config)]
    # PEFT begins a B that is missing with zeros.
    halves = [module for module, pair in sides.items() if "B" not in pair]
    if halves:
        notes.append(f"{len(halves)} modules have no lora_B, {min(halves)} one of them: no change")
    pairs = {module: pair for module, pair in sides.items() if "B" in pair}
    filled = replace(files, config={**DEFAULTS, **files.config})
    diff = fitted_diff(factors(filled, pairs), renaming, files.weights, base) if pairs else {}
    return Finetune(name, diff, notes=(*notes, *untrained(diff)))


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


FORMAT = Format("peft", is_peft, PeftSource)
