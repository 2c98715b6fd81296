"""Tell whether two models are the same base, however each was loaded.

Takes a model and its tokenizer, gives a `Fingerprint`: the architecture, and hashes over a fixed
strided sample of each parameter rounded to bf16, so that float32 and bf16 loads agree. Linears and
the other parameters (embeddings, head, norms) are hashed apart, because a quantized load keeps
only the latter as they were. Tokenizer and chat template are hashed apart again: another one is a
warning, another base is an error.
"""

import hashlib
import logging
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from diffspeak.errors import MismatchError
from diffspeak.io.files import canonical_json
from diffspeak.models.linears import shape_of

log = logging.getLogger(__name__)
SAMPLE = 1024
"""Elements hashed of each parameter; a change of every weight touches them all."""


@dataclass(frozen=True)
class Fingerprint:
    """What makes a base that base.

    Attributes:
        architecture: Class and sizes in words, for messages.
        other: Hash over the parameters that are no linear's.
        linears: Hash over the linears' parameters; None where they are quantized.
        tokenizer: Hash over the vocabulary.
        template: Hash over the chat template.
    """

    architecture: str
    other: str
    linears: str | None
    tokenizer: str
    template: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    def __str__(self) -> str:
        """A short name: architecture and the first digits of its hashes."""
        linears = " quantized" if self.linears is None else self.linears[:6]
        return f"{self.architecture} #{self.other[:6]}{linears}"


def fingerprint(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Fingerprint:
    """Take the fingerprint of a model that nothing is attached to."""
    config = model.config.get_text_config(decoder=True)
    architecture = (
        f"{type(model).__name__} {config.num_hidden_layers}x{config.hidden_size} "
        f"vocabulary {config.vocab_size}"
    )
    # Quantizers leave the head alone, so it counts among the others.
    head = model.get_output_embeddings()
    linear_names = {
        f"{name}.{part}"
        for name, module in model.named_modules()
        if shape_of(module) is not None and module is not head
        for part, _ in module.named_parameters(recurse=False)
    }
    linears, other, quantized = hashlib.sha256(), hashlib.sha256(), False
    for name, parameter in sorted(model.named_parameters()):
        if name in linear_names:
            quantized |= not parameter.is_floating_point()
            _add(linears, name, parameter)
        else:
            _add(other, name, parameter)
    return Fingerprint(
        architecture,
        other.hexdigest(),
        None if quantized else linears.hexdigest(),
        _digest(canonical_json(tokenizer.get_vocab())),
        _digest(str(tokenizer.chat_template)),
    )


def check_base(found: Fingerprint, expected: Fingerprint, what: str) -> None:
    """Refuse to use something with another base than it was made for.

    Args:
        found: The base at hand.
        expected: The base that `what` was made for.
        what: Named in the message, for example `the adapter runs/x/adapter`.

    Raises:
        MismatchError: The bases differ. Another tokenizer or chat template only logs a warning.
    """
    hashes_agree = found.other == expected.other and (
        None in (found.linears, expected.linears) or found.linears == expected.linears
    )
    if found.architecture != expected.architecture or not hashes_agree:
        raise MismatchError(
            f"{what} was made for another base: it needs {expected}, and this is {found}; "
            "load the base it was made for"
        )
    for part in ("tokenizer", "template"):
        if getattr(found, part) != getattr(expected, part):
            log.warning("%s was made with another %s; its answers may suffer", what, part)


def _add(digest: "hashlib._Hash", name: str, parameter: torch.Tensor) -> None:
    flat = parameter.detach().reshape(-1)
    sample = flat[:: max(1, flat.numel() // SAMPLE)]
    if sample.is_floating_point():
        sample = sample.to(torch.bfloat16)
    digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
    digest.update(sample.cpu().contiguous().view(torch.uint8).numpy().tobytes())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
