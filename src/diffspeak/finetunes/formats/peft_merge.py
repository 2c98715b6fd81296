"""PEFT adapters that are more than plain low-rank: PEFT itself merges them into a copy of the base.

Only kinds whose effect is a change of weights, all of it in the folder, go this way; the others are
refused by name. PEFT is given a copy of what the adapter names, so that whatever it does, the base
stays as it is. Factors of single experts and of older releases are laid out as PEFT has them today.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from diffspeak.errors import CorruptFileError, DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats.peft_files import (
    CONFIG,
    PREFIX,
    AdapterFiles,
    oddities,
)
from diffspeak.finetunes.formats.peft_library import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PeftConfig,
    convert_peft_adapter_state_dict_for_transformers,
    get_checkpoint_conversion_mapping,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
    without_bitsandbytes,
)
from diffspeak.finetunes.formats.peft_targets import targeted, without_patterns
from diffspeak.finetunes.formats.source import text_or_none
from diffspeak.finetunes.matching import fitted, renaming_of
from diffspeak.models import Base, partial_copy, plain_modules, plain_shapes, plain_tensors, untie

KINDS = (
    *("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "VERA", "OFT", "HRA", "LN_TUNING"),
    *("FOURIERFT", "RANDLORA", "C3A", "MISS", "SHIRA", "TRAINABLE_TOKENS"),
    *("BOFT", "VBLORA", "ROAD", "DELORA", "HIRA", "GRALORA"),
)
"""Types that are merged."""

LORA_PARTS = (
    *("use_dora", "lora_bias", "bias", "modules_to_save", "trainable_token_indices"),
    *("target_parameters", "ensure_weight_tying"),
)
"""What a LoRA may have beside its factors."""

CHANGE_BASE = ("pissa", "olora")
"""Initializations that subtract from the base what the factors begin with, by the base alone.
Others draw at random (PiSSA by iteration), or need data or a quantization that no folder holds
(CorDA, LoftQ, LoRA-GA)."""

NOT_WEIGHTS = {
    "alora_invocation_tokens": "it acts behind its invocation tokens alone (aLoRA), so it is not a "
    "change of weights, and no merged checkpoint holds it; nothing here can open it",
    "layer_replication": "it runs layers of the base twice (layer_replication), so the result has "
    "more layers than the base; nothing here can compare the two",
}
"""Parts of a LoRA that no change of weights can have the effect of."""

SIZES = ("r", "rank", "init_r", "hybrid_r", "num_vectors", "vector_length", "n_frequency")
"""Numbers of a config that memory is taken for."""

TURNED = (0, 19)
"""Since this release PEFT has `lora_A` on the inputs of fused experts, and not on their outputs."""

FAILURES = (
    *(RuntimeError, ValueError, LookupError, TypeError, AttributeError, AssertionError),
    *(ImportError, OSError, MemoryError, ArithmeticError, re.error),
)
"""What peft raises for a config or tensors that it cannot use."""


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
    tensors = turned(files.tensors, experts, text_or_none(files.config.get("peft_version")))
    fitting = {
        key: fitted(files.folder, key.removeprefix(PREFIX), tensor, base)
        for key, tensor in tensors.items()
    }
    return replace(files, tensors=fitting)


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
    kind = PEFT_TYPE_TO_CONFIG_MAPPING[files.config["peft_type"]]
    known = kind.__dataclass_fields__.keys() - {"peft_type"}
    said = {key: value for key, value in files.config.items() if key in known}
    named = (_before_parts(key.removeprefix(PREFIX)) for key in files.tensors)
    names = list(dict.fromkeys([*plain_modules(base.model), *named]))
    with _readable(files):
        plain = without_patterns(said, [name for name in names if name])
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


def check_mergeable(files: AdapterFiles, base: Base) -> None:
    """Refuse an adapter that is not a change of weights, or that no memory could hold.

    Raises:
        UsageError: It is of a kind that cannot be merged, or the base is quantized.
        CorruptFileError: Its config says absurd sizes.
    """
    config, kind = files.config, files.config.get("peft_type")
    for part, why in NOT_WEIGHTS.items():
        if config.get(part):
            raise UsageError(f"{files.folder} cannot be opened: {why}")
    if kind not in KINDS:
        raise UsageError(
            f"{files.folder} is a PEFT adapter of type {kind}, which is no change of weights that "
            f"peft can merge; those of type {', '.join(KINDS)} are"
        )
    if base.fingerprint.linears is None:
        raise UsageError(
            f"{files.folder} is no plain LoRA ({', '.join(oddities(config))}): it cannot be put on "
            "a quantized base; load the base in bfloat16"
        )
    _check_sizes(files, base)
    if kind != "LORA":
        return
    known = (*LORA_PARTS, "init_lora_weights")
    odd = [what for what in oddities(config) if what.partition("=")[0] not in known]
    if str(config.get("init_lora_weights")).lower() not in CHANGE_BASE:
        odd += [what for what in oddities(config) if what.startswith("init_lora_weights=")]
    if odd:
        raise UsageError(
            f"{files.folder} cannot be opened: {', '.join(odd)} needs more than the folder holds; "
            "merge it into its base with peft where it was trained, and give the merged checkpoint"
        )


def _check_sizes(files: AdapterFiles, base: Base) -> None:
    """Refuse a config that would have peft take memory without end."""
    config = files.config
    largest = max(max(parameter.shape, default=1) for parameter in base.model.parameters())
    experts = max((p.shape[0] for p in base.model.parameters() if p.dim() == 3), default=1)
    sizes = [(key, config.get(key)) for key in SIZES]
    sizes += [("rank_pattern", rank) for rank in (config.get("rank_pattern") or {}).values()]
    for key, size in sizes:
        if isinstance(size, int) and size > largest * experts:
            raise CorruptFileError(
                f"{files.folder / CONFIG} says {key} {size}, and {base.name} has no side longer "
                f"than {largest}; write it again"
            )


def converts_experts(model: nn.Module) -> bool:
    """Whether a model has fused experts that PEFT turns factors of single experts into."""
    kind = getattr(getattr(model, "config", None), "model_type", None)
    if kind is None or get_checkpoint_conversion_mapping(kind) is None:
        return False
    return any(parameter.dim() == 3 for parameter in model.parameters())


def converted(peft: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An adapter's tensors as PEFT loads them, by the names that it saves them under.

    Args:
        peft: A model of PEFT's with an adapter that was not loaded yet.
        tensors: As they stand in the file.
    """
    config = peft.peft_config[peft.active_adapter]
    found: dict[str, Tensor] = convert_peft_adapter_state_dict_for_transformers(
        model=peft, peft_config=config, adapter_state_dict=dict(tensors)
    )
    return found


def turned(
    tensors: Mapping[str, Tensor], experts: Mapping[str, int], version: str | None
) -> dict[str, Tensor]:
    """Factors of fused experts as PEFT lays them out since 0.19.

    Before, `A [expert * rank, out]` and `B [in, rank * expert]` made up a change that was
    transposed; since, `A [expert * rank, in]` and `B [out, rank * expert]` make up the same one.

    Args:
        tensors: Of an adapter.
        experts: How many experts the module of each pair has, by the pair's name
            (`model.layers.0.mlp.experts`), where its weights lie `[expert, out, in]`.
        version: Of the PEFT that wrote them, as its config says.
    """
    parts = (version or "").split(".")[:2]
    if not all(part.isdigit() for part in parts) or tuple(map(int, parts)) >= TURNED:
        return dict(tensors)
    found = dict(tensors)
    for key, A in tensors.items():
        other = key.replace(".lora_A.", ".lora_B.")
        module = key.partition(".lora_A.")[0].removeprefix(PREFIX)
        count = experts.get(module.replace(".base_layer", ""))
        if other == key or count is None or other not in tensors:
            continue
        B = tensors[other]
        rank = A.shape[0] // count
        found[key] = B.reshape(B.shape[0], rank, count).permute(2, 1, 0).reshape(-1, B.shape[0])
        back = A.reshape(count, rank, A.shape[1]).permute(2, 1, 0)
        found[other] = back.reshape(A.shape[1], -1)
    return {key: tensor.contiguous() for key, tensor in found.items()}
