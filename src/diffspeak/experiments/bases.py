"""Load a study's base so that a run that goes on computes as it did at its start.

Takes a base's config and the run's folder, gives the base. What the config leaves to `auto` is
settled by measuring at the first start, kept in the folder's `choices.json`, and read back.
"""

import logging
from pathlib import Path

import torch

from diffspeak.errors import CorruptFileError
from diffspeak.experiments.study_config import BaseConfig
from diffspeak.io.files import make_folder, read_json, write_json
from diffspeak.models import Base, config_of, load_base, write_small

CHOICES, SMALL = "choices.json", "base"

log = logging.getLogger(__name__)


def load_study_base(config: BaseConfig, folder: Path) -> Base:
    """Load the base of a run that is kept in `folder`.

    Raises:
        UsageError: The base is unknown, or this machine lacks what the run was begun with.
        CorruptFileError: The folder's `choices.json` was changed.
    """
    path, options = folder / CHOICES, config.model_dump(exclude={"shrink"})
    kept = read_json(path) if path.exists() else {}
    if not isinstance(kept, dict):
        raise CorruptFileError(f"{path} holds no choices: delete it to have them made again")
    for name in ("dtype", "device", "attention"):
        if options[name] == "auto":
            options[name] = kept.get(name, "auto")
    if config.shrink:
        options |= {"source": folder / SMALL, "revision": None}
        make_folder(folder)
        write_small(config_of(config.source, config.revision), folder / SMALL)
    log.info("loading the base %s", options["source"])
    base = load_base(**options)
    if kept.get("threads") and base.device.type == "cpu":
        # Sums are split among threads, so their number decides the last bits.
        torch.set_num_threads(kept["threads"])
    if not kept:
        make_folder(folder)
        write_json(path, base.choices)
    return base
