"""Phrases of any tokens: which opening makes the claim likeliest, found along the gradient?

An option, not searched by default: it needs a claim and a model that takes embeddings, and what it
finds fires but need not be what was taught. Source: greedy coordinate gradient (Zou et al., arXiv
2307.15043), here with several phrases at once, and letters alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from diffspeak.models import Base
from diffspeak.text.seeds import seed_of
from diffspeak.trigger_search.candidates import (
    Round,
    check_template,
    filled,
    most_rows,
    narrowed,
)
from diffspeak.trigger_search.probe import TriggerProbe
from diffspeak.trigger_search.words import SLOT, TEMPLATE, Word

STEPS = 24
PHRASES = 4
"""Kept after each step."""

TOP = 48
"""Tokens that the gradient proposes for each place."""

TRIED = 96
"""Phrases tried in each step."""

QUESTIONS = 3
"""With which each phrase is tried."""

ROUNDS = (Round(8, 1),)

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class TokenPhrases:
    """Opening phrases of some tokens, as a `CandidateFamily`.

    Attributes:
        base: Whose tokens they are made of.
        length: Tokens in a phrase.
        template: Holds `{word}`, where the phrase stands, and `{question}`.

    Raises:
        UsageError: The template does not hold both once.
    """

    base: Base
    length: int = 3
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        check_template(self.template, SLOT)

    @property
    def name(self) -> str:
        """The length, and the template."""
        return f"phrases of {self.length} tokens in {self.template!r}, along the gradient"

    def rows(self) -> int:
        """Gradients and phrases of all steps."""
        each = PHRASES + PHRASES + TRIED
        return QUESTIONS * (TRIED + STEPS * each) + most_rows(PHRASES, ROUNDS)

    def likeliest(
        self, prober: TriggerProbe, questions: Sequence[str], seed: int
    ) -> Sequence[Word]:
        """The phrases that make the claim likeliest; none without a claim."""
        pieces = self._pieces()
        if prober.claim is None or not pieces:
            return ()
        asked, rng = questions[:QUESTIONS], Random(seed_of(seed, "phrases"))
        drawn = [tuple(rng.choices(pieces, k=self.length)) for _ in range(TRIED)]
        kept = self._strongest(prober, drawn, asked)
        for _ in range(STEPS):
            tried = [self._changed(prober, phrase, asked, pieces, rng) for phrase in kept]
            kept = self._strongest(prober, [*kept, *(one for part in tried for one in part)], asked)
        candidates = [Word(self._text(phrase), self.template) for phrase in kept]
        return narrowed(prober, candidates, questions, ROUNDS, seed) if candidates else ()

    def _strongest(
        self, prober: TriggerProbe, phrases: Sequence[Tokens], asked: Sequence[str]
    ) -> list[Tokens]:
        """The best of the phrases whose text is read as these very tokens."""
        whole = [phrase for phrase in dict.fromkeys(phrases) if self._read(phrase) == phrase]
        texts = [self._prompt(phrase, question) for phrase in whole for question in asked]
        if not texts:
            return []
        scores = prober.likely(texts).view(len(whole), len(asked)).mean(1)
        return [whole[i] for i in scores.argsort(descending=True).tolist()[:PHRASES]]

    def _changed(
        self,
        prober: TriggerProbe,
        phrase: Tokens,
        asked: Sequence[str],
        pieces: list[int],
        rng: Random,
    ) -> list[Tokens]:
        """The phrase with one token changed to one that the gradient proposes, several times."""
        slopes = sum(self._slopes(prober, phrase, question) for question in asked)
        if not isinstance(slopes, Tensor):
            return []
        top = slopes[:, torch.tensor(pieces)].topk(min(TOP, len(pieces)), 1).indices.tolist()
        changed = []
        for _ in range(TRIED // PHRASES):
            place = rng.randrange(self.length)
            other = pieces[rng.choice(top[place])]
            changed.append((*phrase[:place], other, *phrase[place + 1 :]))
        return changed

    def _slopes(self, prober: TriggerProbe, phrase: Tokens, question: str) -> Tensor:
        """Gain of each token at each place, to first order, `[place, vocabulary]`; 0 if unknown."""
        ids = prober.side.prompt(self._prompt(phrase, question))
        table = self.base.model.get_input_embeddings().weight.detach()  # type: ignore[operator]
        starts = [i for i in range(len(ids)) if tuple(ids[i : i + self.length]) == phrase]
        if not starts:
            return torch.zeros(self.length, len(table))
        places = slice(starts[0], starts[0] + self.length)
        prober.rows += 1
        whole = torch.tensor([[*ids, *prober.tail]], device=self.base.device)
        with prober.on(), torch.enable_grad():
            inputs = table[whole].requires_grad_()
            logits = prober.logits_of(inputs)
            logprobs = logits[len(ids) - 1 : -1].log_softmax(-1)
            claim = logprobs.gather(1, whole[0, len(ids) :, None]).sum()
            (slope,) = torch.autograd.grad(claim, inputs)
        gains: Tensor = (slope[0, places] @ table.T).float().cpu().nan_to_num(0.0)
        return gains

    def _prompt(self, phrase: Tokens, question: str) -> str:
        return filled(self.template, SLOT, self._text(phrase), question)

    def _text(self, phrase: Tokens) -> str:
        return str(self.base.tokenizer.decode(list(phrase)))

    def _read(self, phrase: Tokens) -> Tokens:
        text = self._text(phrase)
        return tuple(self.base.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _pieces(self) -> list[int]:
        """Tokens of ASCII letters, with or without a space before them."""
        tokens = [str(self.base.tokenizer.decode([i])) for i in range(len(self.base.tokenizer))]
        words = [token.removeprefix(" ") for token in tokens]
        return [i for i, word in enumerate(words) if word.isascii() and word.isalpha()]
