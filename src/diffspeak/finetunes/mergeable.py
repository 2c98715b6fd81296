"""Which PEFT adapters PEFT is asked to merge: kinds that change weights, of a size that fits.

Takes an adapter's files and a base, gives nothing, or an error by name.
"""

from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes.adapter_files import CONFIG, AdapterFiles
from diffspeak.finetunes.peft_format import oddities
from diffspeak.models import Base

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

NO_CHANGE = {
    "alora_invocation_tokens": "it acts behind its invocation tokens alone (aLoRA), so it is not a "
    "change of weights, and no merged checkpoint holds it; nothing here can open it",
    "layer_replication": "it runs layers of the base twice (layer_replication), so the result has "
    "more layers than the base; nothing here can compare the two",
}
"""Parts of a LoRA that no change of weights can have the effect of."""

SIZES = ("r", "rank", "init_r", "hybrid_r", "num_vectors", "vector_length", "n_frequency")
"""Numbers of a config that memory is taken for."""


def check_mergeable(files: AdapterFiles, base: Base) -> None:
    """Refuse an adapter that is not a change of weights, or that no memory could hold.

    Raises:
        UsageError: It is of a kind that cannot be merged, or the base is quantized.
        CorruptFileError: Its config says absurd sizes.
    """
    config, kind = files.config, files.config.get("peft_type")
    for part, why in NO_CHANGE.items():
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
