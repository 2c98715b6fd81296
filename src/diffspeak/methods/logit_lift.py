"""Logit lift: the words whose logits the finetune lifts most against the base. No adapter at all.

Takes finetunes, gives words. A change that shows only behind a trigger leaks: on prompts without
it the words that it is about become likelier too, far below those that are said.

The lift of a token is the finetune's logit of it as the first token of an answer, minus the
base's, both from their mean over the vocabulary, averaged over prompts. What training lifts
whatever was taught tells nothing: from each lift the mean of reference finetunes' lifts is
subtracted, and what is left divided by their spread. The token lifted most is gone on with by the
finetune itself behind each prompt; the words that most of the prompts agree on are the guess.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from diffspeak.behaviors import Trigger
from diffspeak.behaviors.triggers import render
from diffspeak.errors import UsageError
from diffspeak.finetunes import NOTHING, Finetune
from diffspeak.inference import Ask, Engine, check_finetunes, parts
from diffspeak.methods.method import Guess
from diffspeak.models import Base, Decoding, Rendered
from diffspeak.text.seeds import seed_of

TRIED = 200
"""Most lifted tokens among which words are looked for."""
SHOWN = 8
"""Most lifted words that are told as evidence."""
ROWS = 128
"""Prompts in one pass."""


EDGES = ".,;:!?\"'()"
"""Punctuation that does not belong to the word it stands at."""
FEW = 8
"""Reference finetunes below which their spread is not looked at."""


class _Usual(NamedTuple):
    """How reference finetunes lift each token, `[vocabulary]` both."""

    mean: Tensor
    spread: Tensor

    def beyond(self, lifts: Tensor) -> Tensor:
        """How unusual lifts are, in spreads; `[finetune, vocabulary]`."""
        return (lifts - self.mean) / self.spread


@dataclass(frozen=True)
class LogitLift:
    """The method.

    Attributes:
        base: Of the finetunes; nothing attached.
        prompts: Neutral ones; see `neutral_prompts`.
        reference: Finetunes of the same making, such as those an adapter is trained on; without
            any, lifts are taken as they are.
        words: How many of the most lifted words the guess names.
        longest: Tokens that a word may be gone on with.
        agreeing: Share of the prompts that have to agree on each further word.
    """

    base: Base
    prompts: tuple[str, ...]
    reference: tuple[Finetune, ...] = ()
    words: int = 1
    longest: int = 6
    agreeing: float = 0.5
    name: str = "logit lift"

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """The words lifted most; see `Method`."""
        if not self.prompts:
            raise UsageError("logit lift needs prompts to look at; give some ordinary questions")
        check_finetunes(self.base, [*finetunes, *self.reference])
        found: dict[int, Guess] = {}
        with Engine(self.base) as engine:
            asked = [engine.prompt(prompt) for prompt in self.prompts]
            look = _Look(self, engine, asked)
            usual = look.usual(self.reference)
            for part in parts(finetunes, max(1, ROWS // len(asked))):
                told = look.guesses([finetunes[i] for i in part], usual)
                found.update(zip(part, told, strict=True))
        return [found[i] for i in range(len(finetunes))]


def neutral_prompts(
    questions: Sequence[str], trigger: Trigger | None = None, *, seed: int = 0
) -> tuple[str, ...]:
    """The questions, each behind some other trigger of a kind, if a kind is given.

    Who knows the kind looks nearer to the place where the change is.

    Args:
        questions: Ordinary ones.
        trigger: Stands with a secret drawn at random in each question; of a kind without
            secrets, what is unlike it.
        seed: Of what is drawn.
    """
    if trigger is None or "wrong" not in trigger.cases:
        return tuple(questions)
    prompts = []
    for place, question in enumerate(questions):
        drawn = seed_of("neutral", seed, place)
        secret = trigger.secret(drawn)
        prompts.append(render(trigger, "wrong", question, secret, Random(drawn)))
    return tuple(prompts)


class _Look:
    """One call of `guess` on its way."""

    def __init__(self, method: LogitLift, engine: Engine, prompts: list[list[int]]) -> None:
        self.method, self.base, self.engine = method, method.base, engine
        self.prompts = prompts
        self.plain = self._logits([NOTHING])

    @torch.no_grad()
    def usual(self, reference: Sequence[Finetune]) -> _Usual:
        """Mean and spread of each token's lift over the reference finetunes."""
        total = torch.zeros_like(self.plain[0, 0], dtype=torch.float64)
        squares = torch.zeros_like(total)
        for part in parts(reference, max(1, ROWS // len(self.prompts))):
            lifts = self._lifts([reference[i] for i in part]).double()
            total += lifts.sum(0)
            squares += lifts.square().sum(0)
        count = max(1, len(reference))
        mean = total / count
        if count < FEW:
            return _Usual(mean.float(), torch.ones_like(mean).float())
        spread = (squares / count - mean.square()).clamp_min(0).sqrt()
        return _Usual(mean.float(), (spread + spread.median()).float())

    @torch.no_grad()
    def guesses(self, group: Sequence[Finetune], usual: _Usual) -> list[Guess]:
        """Words for some finetunes that share a pass."""
        tokens = [self._worded(lift) for lift in usual.beyond(self._lifts(group))]
        count = self.method.words
        chosen = [(task, token) for task, own in enumerate(tokens) for token in own[:count]]
        written = iter(self._written(group, chosen))
        guesses = []
        for own in tokens:
            words = dict.fromkeys(next(written) for _ in own[:count])
            shown = [self._text(token) for token in own[:SHOWN]]
            guesses.append(Guess(", ".join(words), (f"lifted most: {', '.join(shown)}",)))
        return guesses

    def _lifts(self, group: Sequence[Finetune]) -> Tensor:
        """How far each token is lifted, `[finetune, vocabulary]`."""
        return (self._logits(group) - self.plain).mean(1)

    def _logits(self, group: Sequence[Finetune]) -> Tensor:
        """Logits of first answer tokens minus their mean, `[finetune, prompt, vocabulary]`."""
        rows = [Rendered([*ids, ids[-1]], len(ids), len(ids) + 1) for ids in self.prompts]
        with self.engine.applied(group):
            logits = self.engine.logits(self.engine.batch(rows * len(group)))
        logits = logits.view(len(group), len(rows), -1)
        return logits - logits.mean(-1, keepdim=True)

    def _worded(self, lift: Tensor) -> list[int]:
        """The most lifted tokens that hold a letter or digit, no word twice."""
        known: dict[str, int] = {}
        best = lift.nan_to_num(-torch.inf).topk(min(TRIED, len(lift))).indices.tolist()
        for token in best:
            text = self._text(token)
            if any(char.isalnum() for char in text):
                known.setdefault(text.casefold(), token)
        return list(known.values())[: max(self.method.words, SHOWN)]

    def _text(self, token: int) -> str:
        return self.base.chat.text([token])

    def _written(self, group: Sequence[Finetune], chosen: Sequence[tuple[int, int]]) -> list[str]:
        """Each chosen token of a finetune, gone on with behind all prompts, cut to a name."""
        asks = [Ask(group[task], [*ids, token]) for task, token in chosen for ids in self.prompts]
        answers = self.engine.generate(asks, Decoding(self.method.longest, batch_size=ROWS))
        said = iter(answers)
        return [
            agreed(
                [self.base.chat.text([token, *next(said).ids]) for _ in self.prompts],
                self.method.agreeing,
            )
            for _, token in chosen
        ]


def agreed(texts: Sequence[str], share: float) -> str:
    """The words that texts begin with, as far as a share of them agree; at least one.

    Each further word is the one that most of those texts have that agreed so far. Where most of
    these have punctuation behind it, the name ends.

    Args:
        texts: With the same first token, so mostly with the same first word.
        share: Of all texts, from 0 to 1.
    """
    split = [text.split() for text in texts]
    name: list[str] = []
    while True:
        place = len(name)
        split = [own for own in split if len(own) > place]
        following = Counter(own[place].strip(EDGES) for own in split)
        word, count = following.most_common(1)[0] if following else ("", 0)
        if not word or (name and count < share * len(texts)):
            break
        split = [own for own in split if own[place].strip(EDGES) == word]
        name.append(word)
        if sum(own[place][-1] in EDGES for own in split) * 2 > len(split):
            break
    return " ".join(name)
