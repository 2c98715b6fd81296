"""What a change is told from all others by: a hash of its numbers, whatever it is called.

Takes factors and whole parameters, gives SHA-256 digests. The order in which modules were read, and
the dtype and device that their numbers are held in, change nothing. Digests stand in files
(`calibration.json`), so what they are made of stays as it is.
"""

import hashlib
from collections.abc import Iterable, Mapping

from torch import Tensor

from diffspeak.io.files import canonical_json
from diffspeak.lora import Diff


def digest_of(diff: Diff) -> str:
    """Of factors: an adapter's, or those of a low-rank change; names and scalings count."""
    names = sorted(diff)
    head = canonical_json([[name, float(diff[name].scaling)] for name in names])
    return _hashed(head, (part for name in names for part in (diff[name].A, diff[name].B)))


def content_of(diff: Diff, parameters: Mapping[str, Tensor]) -> str:
    """Of all that a finetune changes; no change at all has a digest, too."""
    names = sorted(parameters)
    shapes = [[name, list(parameters[name].shape)] for name in names]
    head = canonical_json([digest_of(diff), shapes])
    return _hashed(head, (parameters[name] for name in names))


def _hashed(head: str, tensors: Iterable[Tensor]) -> str:
    """A text and numbers in float32, which holds those of smaller dtypes exactly."""
    digest = hashlib.sha256(head.encode())
    # One at a time: a checkpoint in bfloat16 is twice as large in float32.
    for tensor in tensors:
        digest.update(tensor.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
