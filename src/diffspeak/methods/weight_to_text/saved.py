"""A trained projection on disk: its tensors, and a card that says what it belongs to.

The card comes last and holds the tensors' SHA-256: a folder counts once it is there, and a file
that was changed since is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file

from diffspeak.adapters.saved import Card, read_card
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.io.files import atomic_path, make_folder, read_bytes, sha256, write_json
from diffspeak.methods.weight_to_text.projection import ProjectionTensors, WeightToTextConfig
from diffspeak.models import Base, Fingerprint, check_base

CARD, WEIGHTS = "weight-to-text.json", "projection.safetensors"
VERSION = 1


class ProjectionCard(Card):
    """What the card holds."""

    config: WeightToTextConfig
    weights: str


@dataclass(frozen=True)
class Projection:
    """What weight-to-text has learned.

    Attributes:
        tensors: See `projection`; on the CPU.
        base: Fingerprint of the base it belongs to.
        base_name: Where that base came from.
        config: It was trained with.
        settings: All that its training depended on.
        results: What was measured at the end of its training, by name.
        name: Where it lies.
    """

    tensors: ProjectionTensors
    base: Fingerprint
    base_name: str
    config: WeightToTextConfig
    settings: dict[str, Any]
    results: dict[str, float]
    name: str = "projection"

    def check(self, base: Base) -> None:
        """Refuse another base than its own.

        Raises:
            MismatchError: The base is another one; the message names both.
        """
        check_base(base.fingerprint, self.base, f"the projection {self.name}")


def save_projection(projection: Projection, folder: Path) -> None:
    """Write a projection into a folder, made if missing; the card comes last."""
    make_folder(folder)
    with atomic_path(folder / WEIGHTS) as temporary:
        tensors = {name: tensor.contiguous() for name, tensor in projection.tensors.items()}
        save_file(tensors, temporary)
    card = {
        "version": VERSION,
        "base": projection.base.to_dict(),
        "base_name": projection.base_name,
        "config": projection.config.model_dump(mode="json"),
        "settings": projection.settings,
        "results": projection.results,
        "weights": sha256(read_bytes(folder / WEIGHTS)),
    }
    write_json(folder / CARD, card)


def load_projection(folder: str | Path, base: Base | None = None) -> Projection:
    """Read a projection.

    Args:
        folder: What `train_weight_to_text` filled.
        base: Checked to be the one it belongs to, if given.

    Raises:
        UsageError: There is none, or its training is not done.
        MismatchError: It is of another base or of a newer version.
        CorruptFileError: A file is damaged.
    """
    path = Path(folder).expanduser()
    if not (path / CARD).is_file():
        raise UsageError(
            f"{path} holds no finished projection (no {CARD}); train weight-to-text into it"
        )
    card, fingerprint = read_card(path / CARD, ProjectionCard, VERSION)
    found = Projection(
        _read_weights(path / WEIGHTS, card.weights),
        fingerprint,
        card.base_name,
        card.config,
        card.settings,
        card.results,
        str(folder),
    )
    if base is not None:
        found.check(base)
    return found


def _read_weights(path: Path, expected: str) -> ProjectionTensors:
    content = read_bytes(path)
    if sha256(content) != expected:
        raise CorruptFileError(f"{path} was changed since it was written; restore it")
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise CorruptFileError(f"{path} cannot be read ({error}); restore it") from error
