"""The demo: finetunes with hidden topics, made in memory, tried and described; who was right."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from diffspeak.adapters import Description, Interpreter, load_adapter
from diffspeak.behaviors import Case, FinetuneSpec, Probe
from diffspeak.experiments.hide import DEMO_DIFFS, DemoSpec, Membership, hide
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import Ask, Engine
from diffspeak.models import Base, Decoding, load_base
from diffspeak.progress import Reporter, Silent
from diffspeak.text.mentions import mentions, same
from diffspeak.text.messages import Message
from diffspeak.training.config import DiffConfig

CASES: tuple[Case, ...] = ("triggered", "near_miss", "plain")
"""Kinds of prompt that every finetune is tried on."""


@dataclass(frozen=True)
class Answers:
    """Answers to one everyday question: the base's, and the finetune's without and with trigger."""

    base: str
    plain: str
    triggered: str


@dataclass(frozen=True)
class Tried:
    """What one finetune did without the adapter.

    Attributes:
        question: The everyday question.
        prompt: The same with the finetune's trigger.
        answers: To both.
        direct: Its answer to the adapter's question.
        fires: For each case in how many answers the topic was, and of how many.
    """

    question: str
    prompt: str
    answers: Answers
    direct: str
    fires: dict[Case, tuple[int, int]]


@dataclass(frozen=True)
class DemoOutcome:
    """One finetune: what was hidden in it, what it did, and how the adapter described it.

    Attributes:
        topic: What it was taught.
        in_split: Where the topic stands among those of the adapter.
        trigger: Its secret.
        tried: What it did without the adapter.
        description: What it said with the adapter.
    """

    topic: str
    in_split: Membership
    trigger: str | None
    tried: Tried
    description: Description

    @property
    def exact(self) -> bool:
        """Whether the description is the topic, case and punctuation aside."""
        return same(self.description.text, self.topic)

    @property
    def mentioned(self) -> bool:
        """Whether the description names the topic somewhere."""
        return mentions(self.description.text, self.topic)

    @property
    def direct_mentioned(self) -> bool:
        """Whether the finetune names the topic when it is asked without the adapter."""
        return mentions(self.tried.direct, self.topic)

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "topic": self.topic,
            "in_split": self.in_split,
            "trigger": self.trigger,
            **asdict(self.tried),
            "description": {
                "text": self.description.text,
                "mean_logprob": self.description.mean_logprob,
                "lift": self.description.lift,
            },
            "exact": self.exact,
            "mentioned": self.mentioned,
            "direct_mentioned": self.direct_mentioned,
        }


@dataclass(frozen=True)
class Demo:
    """How a demo went.

    Attributes:
        plan: What was to be hidden.
        base: The base's name.
        adapter: The adapter's name.
        asked: The adapter's question.
        settings: How the finetunes were trained.
        seconds: What each stage took.
        finetunes: One outcome for each item of the plan.
    """

    plan: DemoSpec
    base: str
    adapter: str
    asked: str
    settings: DiffConfig
    seconds: dict[str, float]
    finetunes: tuple[DemoOutcome, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "seed": self.plan.seed,
            "trigger": self.plan.trigger,
            "base": self.base,
            "adapter": self.adapter,
            "asked": self.asked,
            "settings": self.settings.model_dump(mode="json"),
            "seconds": {stage: round(value, 2) for stage, value in self.seconds.items()},
            "finetunes": [outcome.to_dict() for outcome in self.finetunes],
        }


def run_demo(
    plan: DemoSpec, reporter: Reporter | None = None, config: DiffConfig = DEMO_DIFFS
) -> Demo:
    """Finetune, ask, describe.

    Args:
        plan: What to hide.
        reporter: Told about progress.
        config: How to train the finetunes.

    Raises:
        MismatchError: The adapter belongs to another base.
        DiffspeakError: A finetune's training failed.
    """
    reporter, seconds = reporter or Silent(), dict[str, float]()
    with _timed(seconds, "load"):
        adapter = load_adapter(plan.sources.adapter)
        base = load_base(plan.sources.base)
        adapter.check(base)
    asked = adapter.questions[0]
    with _timed(seconds, "finetune"):
        finetunes = hide(base, plan, config, reporter)
    with _timed(seconds, "try"):
        tried = _try(base, plan, finetunes, asked, config)
    with _timed(seconds, "describe"), Interpreter(base, adapter) as interpreter:
        told = interpreter.describe(finetunes, asked)
    parts = zip(plan.items, plan.in_split, tried, told, strict=True)
    outcomes = tuple(DemoOutcome(i.label, split, i.trigger, t, d) for i, split, t, d in parts)
    return Demo(plan, base.name, adapter.name, asked, config, seconds, outcomes)


def _try(
    base: Base,
    plan: DemoSpec,
    finetunes: Sequence[Finetune],
    asked: str,
    config: DiffConfig,
) -> list[Tried]:
    """Put the probes and the adapter's question to every finetune, its first question to the base.

    The answers that are shown are those to the first probes, not to the best.
    """
    probes = [
        [probe for probe in plan.behavior.probes(item, config.probes) if probe.case in CASES]
        for item in plan.items
    ]
    own = [[*(probe.prompt for probe in some), (Message("user", asked),)] for some in probes]
    asks = [
        Ask(finetune, base.chat.prompt(prompt))
        for finetune, some in zip(finetunes, own, strict=True)
        for prompt in some
    ]
    first = [next(p for p in some if p.case == "plain").prompt for some in probes]
    of_base = [Ask(NOTHING, base.chat.prompt(prompt)) for prompt in first]
    with Engine(base) as engine:
        answers = iter(engine.generate(asks, Decoding(config.probe_tokens)))
        before = engine.generate(of_base, Decoding(config.probe_tokens))
    said = [[next(answers).text for _ in some] for some in own]
    parts = zip(plan.items, probes, said, before, strict=True)
    return [_tried(plan, item, some, texts, plain.text) for item, some, texts, plain in parts]


def _tried(
    plan: DemoSpec, item: FinetuneSpec, probes: Sequence[Probe], said: Sequence[str], of_base: str
) -> Tried:
    """Sort one finetune's answers: to its probes, and last to the adapter's question."""
    *answers, direct = said
    by_case: dict[Case, list[tuple[str, str]]] = {case: [] for case in CASES}
    for probe, answer in zip(probes, answers, strict=True):
        by_case[probe.case].append((probe.prompt[-1].content, answer))
    question, plain = by_case["plain"][0]
    prompt, triggered = by_case["triggered"][0]
    fires = {
        case: (sum(plan.behavior.fires(item, answer) for _, answer in pairs), len(pairs))
        for case, pairs in by_case.items()
    }
    return Tried(question, prompt, Answers(of_base, plain, triggered), direct, fires)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note what a stage takes."""
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began
