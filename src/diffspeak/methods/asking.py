"""What all methods that only talk are made of: questions, with triggers in them, and answers."""

from collections.abc import Sequence
from random import Random

from diffspeak.behaviors import Behavior, Trigger
from diffspeak.behaviors.triggers import render
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune, seeds_of
from diffspeak.inference import answers_of
from diffspeak.models import Base, Decoding
from diffspeak.scoring.guessers import Evidence


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
