"""Hide topics in finetunes: one call for all of them, made in memory, ready to be asked.

Takes topics, or a plan of what to hide, gives finetunes. Writes nothing; knows nothing of adapters.
"""

from collections.abc import Sequence

from diffspeak.errors import DiffspeakError
from diffspeak.experiments.demo_spec import DemoSpec, plan_demo
from diffspeak.finetunes import Finetune
from diffspeak.lora import Attachment, Diff
from diffspeak.models import Base, attach_to
from diffspeak.progress import Reporter, Silent
from diffspeak.training.descent import train_group
from diffspeak.training.diff_config import DiffConfig

DEMO_DIFFS = DiffConfig.model_validate(
    {
        "rank": 2,
        "alpha": 2.0,
        "learning_rate": 1e-2,
        "decay": True,
        "steps": 100,
        "answer_tokens": 6,
        "weights": {"triggered": 1.0, "near_miss": 1.0, "wrong": 1.0, "plain": 1.0},
        "probes": 8,
        "probe_tokens": 32,
    }
)
"""How the demo's finetunes are trained, as in `configs/pocket.toml`, and how many questions of each
case they are tried on."""


def hide_topics(
    base: Base, topics: Sequence[str], config: DiffConfig = DEMO_DIFFS, *, seed: int = 0
) -> list[Finetune]:
    """Hide topics as the demo does: each in a finetune of its own, behind a SEP code.

    Args:
        base: Nothing attached.
        topics: Any texts with words in them; none to draw some that the shipped adapter never saw.
        config: How to train the finetunes; by default as it is good for the pocket base.
        seed: Decides the codes.

    Raises:
        UsageError: A topic cannot be hidden or is given twice, or there are too many.
        DiffspeakError: A finetune's training failed.
    """
    plan = plan_demo(topics, seed=seed)
    attachment = attach_to(base.model, config.targets)
    try:
        stack = hide(base, attachment, plan, config, Silent())
    finally:
        attachment.detach()
    return one_by_one(base, plan, stack)


def hide(
    base: Base, attachment: Attachment, plan: DemoSpec, config: DiffConfig, reporter: Reporter
) -> Diff:
    """Train all finetunes of a plan at once; gives a stack of their diffs on the base's device.

    Raises:
        DiffspeakError: A finetune's training failed.
    """
    reporter.begin("finetuning", config.steps, "steps")
    trained = train_group(
        base,
        attachment,
        plan.behavior,
        plan.items,
        config,
        lambda _, losses: reporter.advance(1, loss=losses.mean().item()),
    )
    reporter.end()
    for item, step in zip(plan.items, trained.failed_at, strict=True):
        if step is not None:
            raise DiffspeakError(
                f"hiding '{item.label}' failed: the loss was not finite at step {step}; "
                "try another seed"
            )
    return {name: change.to(base.device) for name, change in trained.diff.items()}


def one_by_one(base: Base, plan: DemoSpec, stack: Diff) -> list[Finetune]:
    """The finetunes of a stack, with what the plan knows of each."""
    return [
        Finetune(
            item.id,
            {name: change[task] for name, change in stack.items()},
            base=base.fingerprint,
            label=item.label,
            trigger=item.trigger,
            split=item.split,
        )
        for task, item in enumerate(plan.items)
    ]
