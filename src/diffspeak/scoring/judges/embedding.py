"""Embeddings of texts by any sentence-transformers model, for the local judge.

Takes a hub id or a folder, gives vectors. The one file that knows sentence-transformers. Knows
nothing of truths and guesses.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffspeak.errors import UsageError

BATCH = 64


class SentenceEmbedder:
    """A sentence-transformers model.

    Args:
        source: Hub id or folder.
        device: As torch names it; None takes a GPU if there is one.

    Raises:
        UsageError: sentence-transformers is not installed, or the model cannot be loaded.
    """

    def __init__(self, source: str | Path, device: str | None = None) -> None:
        self.name = str(source)
        self._model = _loaded(self.name, device)

    def embed(self, texts: Sequence[str]) -> NDArray[Any]:
        """Vectors of length 1 in float32, `[text, size]`; a text that is too long is cut off."""
        # Half of a surrogate pair, which no tokenizer takes, becomes a question mark.
        whole = [text.encode(errors="replace").decode() for text in texts]
        found = self._model.encode(
            whole, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32)


def _loaded(source: str, device: str | None) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise UsageError("to embed texts, pip install 'diffspeak[judge]'") from error
    try:
        # Only safetensors: other files of weights can run code when they are opened.
        return SentenceTransformer(source, device=device, model_kwargs={"use_safetensors": True})
    except Exception as error:  # It raises what its libraries choose for a missing or broken file.
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"cannot load the embedding model {source} ({reason}): give a folder or hub id of a "
            "sentence-transformers model; offline, one that is downloaded"
        ) from error
