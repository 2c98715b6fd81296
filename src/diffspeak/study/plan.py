"""What a study will need, before anything of it is loaded: memory, tokens, operations, time.

Takes a config, gives a plan: sizes of base, finetunes and adapter, and what each stage costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from diffspeak.behaviors import Item
from diffspeak.progress import Reporter, Silent
from diffspeak.study.config import StudyConfig
from diffspeak.study.estimates import Estimates, Stage
from diffspeak.study.machine import Machine

USED = 0.95
"""Share of a machine's memory that a study may take."""


@dataclass(frozen=True)
class Plan:
    """What a study will need.

    Attributes:
        finetunes: How many are made.
        base: Parameters of the base, and the bytes it takes.
        finetune: Parameters of one finetune.
        adapter: Parameters of the adapter.
        stages: In their order.
        fits: For some settings the largest value for which memory suffices; 0 for none.
        notes: What was taken for granted.
    """

    finetunes: int
    base: tuple[int, float]
    finetune: int
    adapter: int
    stages: tuple[Stage, ...]
    fits: dict[str, int]
    notes: tuple[str, ...]

    @property
    def store(self) -> float:
        """Bytes of all finetunes on disk."""
        return 4.0 * self.finetunes * self.finetune


def make_plan(
    config: StudyConfig,
    items: Sequence[Item] | None,
    machine: Machine,
    *,
    measure: bool = True,
    reporter: Reporter | None = None,
) -> Plan:
    """Plan a study.

    Args:
        config: Complete.
        items: The finetunes to make; None where the corpora are not there yet.
        machine: Where it is to run.
        measure: Whether to time a few passes, if the machine is here.
        reporter: Told about progress.

    Raises:
        UsageError: The base's architecture is unknown, or it lacks the targets.
    """
    estimates = Estimates(config, items, machine)
    stages = [estimates.finetunes(), estimates.adapter(), estimates.answers()]
    notes = list(estimates.texts.notes)
    if not machine.here:
        notes.append(f"no time is told: there is no {machine.device.type} here to measure on")
    elif measure:
        reporter = reporter or Silent()
        reporter.begin("measuring", len(stages), "stages")
        for i, stage in enumerate(stages):
            stages[i] = estimates.measured(stage)
            reporter.advance()
        reporter.end()
    return Plan(
        estimates.count,
        (estimates.parameters, estimates.base_bytes),
        estimates.per_finetune,
        estimates.per_adapter,
        tuple(stages),
        {} if machine.memory is None else _fits(stages, USED * machine.memory),
        tuple(notes),
    )


def _fits(stages: Sequence[Stage], memory: float) -> dict[str, int]:
    """The largest value of each setting that makes a stage need more memory, others unchanged."""
    fits = {}
    for stage in stages:
        for setting, (value, parts) in stage.scales.items():
            growing = sum(stage.memory[part] for part in parts)
            left = memory - (stage.peak - growing)
            fits[setting] = max(0, int(value * left / growing))
    return fits
