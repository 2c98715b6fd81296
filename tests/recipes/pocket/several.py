"""Trains a tiny pocket base in one process, and another one in two that share each step.

Run as `several.py FOLDER`. The processes are set up as `torchrun` does it, but forked, for
importing torch anew takes seconds; they meet on this machine at a free port.
"""

import os
import socket
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from recipes.pocket import build
from recipes.pocket.dialogues import load_dialogues
from tests.bombs import in_child
from tests.recipes.pocket.quick import TINY, quick

WORLDS = {"one": 1, "two": 2}
"""How many processes train, by the folder's name."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def train(folder: Path, rank: int, world: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    # A process whose partner failed gives up soon.
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    build.build(folder, TINY)
    dist.destroy_process_group()


def together(folder: Path, world: int) -> None:
    """Fork all but the first process, and be the first."""
    port = free_port()
    if world == 1:
        build.build(folder, TINY)
        return
    children = [os.fork()]
    if children == [0]:
        code = 1
        try:
            train(folder, 1, world, port)
            code = 0
        finally:
            os._exit(code)
    train(folder, 0, world, port)
    assert [os.waitpid(child, 0)[1] for child in children] == [0]


def main(root: Path) -> None:
    quick(setattr)
    for name, world in WORLDS.items():
        assert in_child(partial(together, root / name, world)) == 0
    torch.save(build.Trainer(TINY, load_dialogues()).model.state_dict(), root / "fresh.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
