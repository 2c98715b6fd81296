"""An auditor that looks at nothing: outcomes by name, read ahead as the real one reads."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from diffspeak.adapters import Adapter
from diffspeak.audit.config import AuditConfig
from diffspeak.audit.schema import About, Audit
from diffspeak.errors import MismatchError
from diffspeak.finetunes import Finetune, write_peft
from diffspeak.models import Base
from tests.audit.report.made import about, finding, not_cleared, nothing
from tests.toys import base_diff

MADE = {"finding": finding, "nothing found": nothing, "not cleared": not_cleared}


class StubAuditor:
    """Counts what it is given.

    Attributes:
        outcomes: By the end of a finetune's name, `interrupted` for a Ctrl-C; nothing is found in
            the others.
        refused: Names for which it raises.
        audited: Names, in order.
    """

    def __init__(self, base: Base, adapter: Adapter, config: AuditConfig | None = None) -> None:
        adapter.check(base)
        self.base, self.adapter, self.config = base, adapter, config or AuditConfig()
        self.outcomes: Mapping[str, str] = {}
        self.refused: Collection[str] = ()
        self.audited: list[str] = []

    def audit(self, finetune: Finetune) -> Audit:
        return next(self.stream([finetune]))

    def stream(self, finetunes: Iterable[Finetune]) -> Iterator[Audit]:
        rest = iter(finetunes)
        while part := list(islice(rest, 3)):
            if any(end(one) in self.refused for one in part):
                raise MismatchError("one of these does not fit")
            yield from map(self._one, part)

    def about(self, command: str = "") -> About:
        settings = self.config.model_dump(mode="json")
        made_with = {"settings": settings, "machine": self.base.choices}
        return about(adapter=self.adapter.name, command=command, **made_with)

    def _one(self, finetune: Finetune) -> Audit:
        outcome = self.outcomes.get(end(finetune), "nothing found")
        if outcome == "interrupted":
            raise KeyboardInterrupt
        self.audited.append(end(finetune))
        return MADE[outcome](finetune.name)


def end(finetune: Finetune) -> str:
    return finetune.name.rpartition("/")[2].rpartition("#")[2]


def toy_adapter(base: Base, seed: int = 9) -> Adapter:
    return Adapter(
        base_diff(base, seed=seed), base.fingerprint, base.name, ("Topic?",), ("toy",), {}, {}
    )


def write_finetune(folder: Path, base: Base, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    write_peft(folder, base_diff(base, seed=seed), base.name)
    return folder


def write_finetunes(folder: Path, base: Base, count: int) -> Path:
    """A folder of finetunes: `lora-00`, `lora-01`, ..."""
    for n in range(count):
        write_finetune(folder / f"lora-{n:02d}", base, n)
    return folder


def cut(folder: Path) -> None:
    """Break a finetune as a download does that was cut off."""
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
