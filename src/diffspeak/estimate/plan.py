"""What a study will need, before anything of it is loaded: memory, tokens, operations, time.

Takes a config, gives a plan: sizes of base, finetunes and adapter, and what each stage costs.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from diffspeak.behaviors import Behavior, FinetuneSpec
from diffspeak.estimate.estimates import Estimates, Stage
from diffspeak.estimate.machine import Machine
from diffspeak.estimate.sizes import Sizes
from diffspeak.experiments.config import StudyConfig
from diffspeak.progress import Reporter, Silent

MOST = 1 << 24
"""No setting is tried beyond this."""

USED = 0.95
"""Share of a machine's memory that a study may take."""


@dataclass(frozen=True)
class Plan:
    """What a study will need.

    Attributes:
        finetunes: How many are made.
        base: Parameters of the base, and the bytes it takes.
        finetune: Parameters of one finetune, and its bytes on disk.
        adapter: Parameters of the adapter.
        stages: In their order.
        fits: For some settings the largest value for which memory suffices; 0 for none.
        notes: What was taken for granted.
    """

    finetunes: int
    base: tuple[int, float]
    finetune: tuple[int, float]
    adapter: int
    stages: tuple[Stage, ...]
    fits: dict[str, int]
    notes: tuple[str, ...]

    @property
    def store(self) -> float:
        """Bytes of all finetunes on disk."""
        return self.finetunes * self.finetune[1]


def make_plan(
    config: StudyConfig,
    behavior: Behavior | None,
    items: Sequence[FinetuneSpec],
    machine: Machine,
    *,
    measure: bool = True,
    reporter: Reporter | None = None,
) -> Plan:
    """Plan a study.

    Args:
        config: Complete.
        behavior: What is taught; None where its corpora are not there yet.
        items: The finetunes to make; none where the corpora are not there yet.
        machine: Where it is to run.
        measure: Whether to time a few passes, if the machine is here.
        reporter: Told about progress.

    Raises:
        UsageError: The base's architecture is unknown, it lacks the targets, or nobody says how
            many finetunes there will be.
    """
    estimates = Estimates(config, behavior, items, machine)
    stages = [estimates.finetunes(), estimates.adapter(), estimates.answers()]
    notes = list(estimates.texts.notes)
    notes += _left_out(config, estimates.sizes)
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
        (estimates.sizes.parameters, estimates.sizes.base),
        (estimates.sizes.finetune, estimates.sizes.stored),
        estimates.sizes.adapter,
        tuple(stages),
        {} if machine.memory is None else _fits(stages, USED * machine.memory),
        tuple(notes),
    )


def _left_out(config: StudyConfig, sizes: Sizes) -> list[str]:
    """What the plan knows nothing of."""
    notes = []
    if sizes.whole:
        notes.append("of whole finetunes the logits of all tokens are not reckoned with")
    if config.base.device_map != "none":
        notes.append("all is reckoned for one device, whatever base.device_map says")
    if getattr(sizes.shape.config, "quantization_config", None) is not None:
        notes.append("the base's own quantization is not reckoned with: it may take less")
    return notes


def _fits(stages: Sequence[Stage], memory: float) -> dict[str, int]:
    """The largest value of each setting with which its stage fits, others unchanged; 0 for none."""
    return {
        setting: bisect_right(range(1, MOST), memory, key=partial(needs, stage))
        for stage in stages
        for setting, needs in stage.needs.items()
    }
