"""Have many finetunes answer prompts of their own: what all methods that only talk are made of.

Takes finetunes and for each its prompts, gives for each its answers; puts triggers into questions.
Knows nothing of guesses.
"""

from collections.abc import Sequence
from random import Random

from diffspeak.behaviors import Behavior, Trigger
from diffspeak.behaviors.triggers import render
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune, groups, put_on, seeds_of
from diffspeak.lora import Attachment
from diffspeak.models import Base, Decoding, attach_to, check_base, generate
from diffspeak.scoring.guessers import Evidence
from diffspeak.text.messages import Message

TOGETHER = 16
"""Low-rank finetunes that are put on the base at a time."""


def answers_of(
    base: Base,
    finetunes: Sequence[Finetune],
    prompts: Sequence[Sequence[str]],
    decoding: Decoding,
    *,
    seed: int = 0,
) -> list[list[str]]:
    """Let each finetune answer its own prompts, each in a conversation of its own.

    Args:
        base: Of the finetunes; nothing attached.
        finetunes: `NOTHING` among them stands for the base itself.
        prompts: For each finetune what a user would type.
        decoding: Length, temperature, batch.
        seed: When sampling; what is drawn depends on it, on what the finetune changes, and on the
            prompt alone. A prompt that is given again is answered anew.

    Raises:
        MismatchError: A finetune is of another base.
    """
    check_finetunes(base, finetunes)
    said: dict[int, list[str]] = {}
    attachment = attach_to(base.model)
    try:
        for part in parts(finetunes):
            found = _answers(
                base,
                attachment,
                [finetunes[i] for i in part],
                [prompts[i] for i in part],
                decoding,
                seed,
            )
            said.update(zip(part, found, strict=True))
    finally:
        attachment.detach()
    return [said[i] for i in range(len(finetunes))]


def _answers(
    base: Base,
    attachment: Attachment,
    group: Sequence[Finetune],
    prompts: Sequence[Sequence[str]],
    decoding: Decoding,
    seed: int,
) -> list[list[str]]:
    rows = [(task, place) for task, own in enumerate(prompts) for place in range(len(own))]
    with put_on(base, attachment, group):
        answers = generate(
            base,
            [base.chat.prompt((Message("user", prompts[t][place]),)) for t, place in rows],
            decoding,
            seeds=_seeds(group, prompts, seed) if decoding.draws else None,
            attachment=attachment,
            tasks=[task for task, _ in rows],
        )
    texts = iter(answer.text for answer in answers)
    return [[next(texts) for _ in own] for own in prompts]


def _seeds(group: Sequence[Finetune], prompts: Sequence[Sequence[str]], seed: int) -> list[int]:
    """For each finetune those of its answers, one after the other."""
    pairs = zip(group, prompts, strict=True)
    return [one for finetune, own in pairs for one in seeds_of("ask", seed, finetune, own)]


def evidence_of(
    base: Base,
    finetunes: Sequence[Finetune],
    questions: Sequence[str],
    decoding: Decoding,
    trigger: Trigger | None = None,
    *,
    seed: int = 0,
) -> list[Evidence]:
    """What each finetune and the base answer to the same questions.

    Args:
        base: Of the finetunes; nothing attached.
        finetunes: With known secrets where there is a trigger.
        questions: Put to all of them.
        decoding: Length, temperature, batch.
        trigger: Stands in each question, if one is given: the finetune's own.
        seed: Of what a trigger draws, and when sampling.

    Raises:
        MismatchError: A finetune is of another base.
        UsageError: A finetune does not tell its trigger.
    """
    asked = [prompts_of(finetune, questions, trigger, seed) for finetune in finetunes]
    answers = answers_of(base, finetunes, asked, decoding, seed=seed)
    unlike = list(dict.fromkeys(tuple(own) for own in asked))
    without = answers_of(base, [NOTHING] * len(unlike), unlike, decoding, seed=seed)
    of_base = dict(zip(unlike, without, strict=True))
    return [
        Evidence(tuple(questions), tuple(said), tuple(of_base[tuple(own)]))
        for own, said in zip(asked, answers, strict=True)
    ]


def prompts_of(
    finetune: Finetune, questions: Sequence[str], trigger: Trigger | None, seed: int = 0
) -> list[str]:
    """The questions, with the finetune's trigger in each if a kind of trigger is given.

    Raises:
        UsageError: The finetune does not tell its trigger.
    """
    if trigger is None:
        return list(questions)
    if finetune.trigger is None and "plain" in trigger.cases:
        raise UsageError(
            f"the finetune {finetune.name} does not tell its trigger; leave the methods with "
            "trigger out for it"
        )
    seeds = seeds_of("trigger", seed, finetune, questions)
    return [
        render(trigger, "triggered", question, finetune.trigger, Random(drawn))
        for question, drawn in zip(questions, seeds, strict=True)
    ]


def ordinary_questions(behavior: Behavior, count: int = 20) -> list[str]:
    """At most so many different test questions of a behavior, without any trigger.

    Raises:
        UsageError: It has none.
    """
    items = behavior.items()
    probes = behavior.probes(items[0], count) if items else []
    plain = [probe for probe in probes if probe.case == "plain"] or probes
    asked = list(dict.fromkeys(probe.prompt[-1].content for probe in plain))
    # Where one prompt is asked again and again, it is what the behavior is about.
    if len(asked) < min(count, 2):
        raise UsageError(f"{behavior.name} has no ordinary questions; give it 'questions', a file")
    return asked


def parts(finetunes: Sequence[Finetune], size: int = TOGETHER) -> list[list[int]]:
    """Places of finetunes that share a pass, at most so many in each part."""
    return [
        group[start : start + size]
        for group in groups(finetunes)
        for start in range(0, len(group), size)
    ]


def check_finetunes(base: Base, finetunes: Sequence[Finetune]) -> None:
    """Refuse finetunes of another base.

    Raises:
        MismatchError: One is.
    """
    for finetune in finetunes:
        if finetune.base is not None:
            check_base(base.fingerprint, finetune.base, f"the finetune {finetune.name}")
