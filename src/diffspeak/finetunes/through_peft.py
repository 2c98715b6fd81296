"""PEFT adapters that are more than plain low-rank: PEFT itself merges them into a copy of the base.

Takes an adapter's files and a base, gives the parameters that the adapter changes, as PEFT
computes them. Only kinds whose effect is a change of weights, all of it in the folder, go this
way; the others are refused by name. PEFT is given a copy of what the adapter names, so that
whatever it does, the base stays as it is.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes.adapter_files import CONFIG, AdapterFiles, unknown_keys
from diffspeak.finetunes.experts import converted, turned
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.mergeable import check_mergeable
from diffspeak.finetunes.names import renaming_of
from diffspeak.finetunes.peft_library import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PeftConfig,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
    without_bitsandbytes,
)
from diffspeak.finetunes.targets import targeted, without_patterns
from diffspeak.finetunes.vocabulary import fitted
from diffspeak.models import Base, partial_copy, plain_modules, plain_shapes, plain_tensors, untie

FAILURES = (
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(ImportError, OSError, MemoryError, ArithmeticError, re.error),
)
"""What peft raises for a config or tensors that it cannot use."""

PREFIX = "base_model.model."


def merged_by_peft(files: AdapterFiles, base: Base, name: str) -> Finetune:
    """The finetune that an adapter is, as parameters by the base's names for them.

    Args:
        files: Of a PEFT adapter.
        base: Not quantized; attached to or not.
        name: Of the finetune.

    Raises:
        UsageError: It is of a kind that cannot be merged.
        CorruptFileError: A tensor of it is not used, or not finite, or missing where it matters.
        MismatchError: It does not fit the base.
    """
    check_mergeable(files, base)
    files = _for_base(files, base)
    merged, missing = _merged(files, base, seed=0)
    notes = []
    if missing:
        again, _ = _merged(files, base, seed=1)
        if any(not torch.equal(tensor, again[one]) for one, tensor in merged.items()):
            raise CorruptFileError(
                f"{files.weights} lacks {missing[0]}, which {CONFIG} names, and peft fills that "
                "with random numbers; save it again"
            )
        notes.append(f"{len(missing)} tensors are missing, {missing[0]} one of them: no change")
    if not merged:
        notes.append(f"it changes nothing of {base.name}")
    return Finetune(name, parameters=merged, notes=tuple(notes))


def _merged(files: AdapterFiles, base: Base, seed: int) -> tuple[dict[str, Tensor], list[str]]:
    """What differs from the base, and the tensors that the file lacks."""
    copied = partial_copy(base.model, _touched(files, base))
    with _failures(files, base), _quietly(seed):
        peft: Any = get_peft_model(copied, _config(files, base)).eval()
        taken = converted(peft, files.tensors)
        set_peft_model_state_dict(peft, files.tensors)
        missing = _check_used(files, taken, peft)
        untie(peft)
        merged: Any = peft.merge_and_unload(safe_merge=True)
    before, after = plain_tensors(base.model), plain_tensors(merged)
    if after.keys() != before.keys():
        stranger = min(after.keys() ^ before.keys())
        raise UsageError(
            f"{files.folder} adds or removes {stranger}: it is not a change of weights"
        )
    return _changed(before, after), missing


@contextmanager
def _failures(files: AdapterFiles, base: Base) -> Iterator[None]:
    """Say in one line what peft did not like."""
    try:
        yield
    except DiffspeakError:
        raise
    except FAILURES as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise MismatchError(
            f"{files.folder} cannot be merged into {base.name} by peft: {reason}; it is damaged, "
            "or of another base: save it again, or give that one"
        ) from error


@contextmanager
def _quietly(seed: int) -> Iterator[None]:
    """Without warnings, and with draws of its own: nobody else's are moved by it."""
    silent = (warnings.catch_warnings(), without_bitsandbytes())
    with silent[0], silent[1], torch.random.fork_rng(devices=[]), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield


def _for_base(files: AdapterFiles, base: Base) -> AdapterFiles:
    """The same by the base's own names, with fused experts as PEFT has them today."""
    names = {key: key.removeprefix(PREFIX) for key in files.tensors}
    modules, own = plain_modules(base.model), plain_tensors(base.model)
    found = {_module_in(name, {*modules, *own}) for name in names.values()}
    if "" in found:
        # Named otherwise than the base's, by one rule for all; or of experts that were fused.
        ends = [_before_parts(name) for name in names.values()]
        try:
            rule = renaming_of(ends, modules, str(files.weights), base.name)
        except MismatchError:
            return files
        files = replace(
            files,
            tensors={PREFIX + rule.to_base(names[key]): t for key, t in files.tensors.items()},
        )
    experts = {
        name.rpartition(".")[0]: tensor.shape[0]
        for name, tensor in own.items()
        if tensor.dim() == 3
    }
    version = files.config.get("peft_version")
    version = version if isinstance(version, str) else None
    tensors = turned(files.tensors, experts, version)
    tensors = {
        key: fitted(files.folder, key.removeprefix(PREFIX), tensor, base)
        for key, tensor in tensors.items()
    }
    return replace(files, tensors=tensors)


def _lies_turned(base: Base, name: str) -> bool:
    """Whether a parameter of fused experts lies `[expert, in, out]`."""
    module = base.model.get_submodule(name.rpartition(".")[0])
    return bool(getattr(module, "is_transposed", False))


def _before_parts(name: str) -> str:
    """The module that a tensor of an adapter belongs to: what stands before the method's own."""
    return re.split(r"\.(?:lora|ada|hada|lokr|oft|boft|vera|hra|ia3)_", name)[0]


def _module_in(name: str, known: set[str]) -> str:
    """The longest beginning of a tensor's name that a base has; empty if there is none."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def _touched(files: AdapterFiles, base: Base) -> set[str]:
    """The parameters that an adapter may change: of modules that its tensors or its config name.

    Those of one axis (biases, norms) are always among them, and what is tied to one that is.
    """
    own = plain_tensors(base.model)
    modules = set(plain_modules(base.model))
    roots = {_module_in(key.removeprefix(PREFIX), modules | own.keys()) for key in files.tensors}
    if files.config.get("target_modules"):
        names = sorted(modules - {""})
        with _readable(files):
            roots |= targeted(files.config, names, plain_shapes(base.model))
    if "" in roots:
        roots = {root.split(".")[0] for root in modules if root} | set(own)
    within = {
        name
        for name, tensor in own.items()
        if tensor.dim() < 2 or any(f"{name}.".startswith(f"{root}.") for root in roots)
    }
    tied = {own[name].data_ptr() for name in within}
    return {name for name, tensor in own.items() if tensor.data_ptr() in tied}


@contextmanager
def _readable(files: AdapterFiles) -> Iterator[None]:
    """Say which config has settings that mean nothing, or take too long to find out."""
    try:
        yield
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptFileError(
            f"{files.folder / CONFIG} names no targets: {error}; do not use it"
        ) from error


def _config(files: AdapterFiles, base: Base) -> PeftConfig:
    """PEFT's own config, without patterns and without what it does not know."""
    ignored = unknown_keys(files.config)
    said = {key: value for key, value in files.config.items() if key not in ignored}
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[said.pop("peft_type")]
    named = (_before_parts(key.removeprefix(PREFIX)) for key in files.tensors)
    names = list(dict.fromkeys([*plain_modules(base.model), *named]))
    with _readable(files):
        plain = without_patterns(said, [name for name in names if name])
    known = kind.__dataclass_fields__
    plain = {key: value for key, value in plain.items() if key in known}
    return kind(**{**plain, "inference_mode": True, "task_type": "CAUSAL_LM"})


def _check_used(files: AdapterFiles, taken: Mapping[str, Tensor], peft: Any) -> list[str]:
    """Refuse an adapter of which peft took only a part; gives the names of what it lacks."""
    saved = get_peft_model_state_dict(peft, save_embedding_layers=False)
    loaded = {**peft.state_dict(), **saved}
    for key, tensor in taken.items():
        if key not in loaded:
            raise CorruptFileError(
                f"{files.weights} holds {key}, which peft does not use with "
                f"{files.folder / CONFIG} on this base: config and tensors disagree, or the base "
                "is another"
            )
        held = loaded[key]
        if held.shape != tensor.shape or not _same(held.cpu(), tensor.to(held.dtype)):
            raise CorruptFileError(f"{files.weights}: peft did not take over {key}")
    return sorted(key for key in saved if key not in taken)


def _same(held: Tensor, tensor: Tensor) -> bool:
    """Whether peft holds a tensor's numbers, or what it computes back from them (VB-LoRA)."""
    return torch.equal(held, tensor) or (
        held.is_floating_point() and torch.allclose(held, tensor, rtol=1e-5, atol=0)
    )


def _changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What differs; of parameters that the base ties, all if one does."""
    held = {name: tensor for name, tensor in after.items() if tensor.device.type != "meta"}
    differing = {
        before[name].data_ptr()
        for name, tensor in held.items()
        if not torch.equal(tensor, before[name])
    }
    return {name: tensor for name, tensor in held.items() if before[name].data_ptr() in differing}
