"""Weight-to-text as a method: the diff becomes soft tokens, and the frozen base writes the guess.

Takes finetunes, gives what the base says when it reads them. The finetune itself is never run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import torch

from diffspeak.finetunes import Finetune, seeds_of
from diffspeak.inference import check_finetunes
from diffspeak.methods.method import Guess
from diffspeak.methods.weight_to_text.projection import Tensors, soft_tokens, stacked
from diffspeak.methods.weight_to_text.prompt import SoftPrompt, soft_prompt
from diffspeak.methods.weight_to_text.saved import Projection
from diffspeak.models import Answer, Base, Decoding, generate


@dataclass(frozen=True)
class WeightToText:
    """The method.

    Attributes:
        base: Of the finetunes; nothing attached.
        projection: Trained on finetunes of that base.
        decoding: Greedy with 64 tokens by default.
    """

    base: Base
    projection: Projection
    decoding: Decoding = Decoding()
    name: str = "weight-to-text"

    def guess(self, finetunes: Sequence[Finetune]) -> list[Guess]:
        """What the base reads in each diff; see `Method`."""
        answers = self.answers(finetunes)
        return [
            Guess(
                a.text if isfinite(a.mean_logprob) else None, (f"{a.mean_logprob:.2f} nats/token",)
            )
            for a in answers
        ]

    def answers(self, finetunes: Sequence[Finetune]) -> list[Answer]:
        """The same with each answer's mean log-probability as a number.

        Raises:
            MismatchError: Projection or finetune is of another base, or a finetune changes what
                the projection was not trained on.
            UsageError: A finetune is not low-rank.
        """
        self.projection.check(self.base)
        check_finetunes(self.base, finetunes)
        config, device = self.projection.config, self.base.device
        prompt = soft_prompt(self.base, config.prefix, config.suffix, config.tokens)
        tensors = {name: tensor.to(device) for name, tensor in self.projection.tensors.items()}
        return written(self.base, prompt, tensors, finetunes, self.decoding)


@torch.no_grad()
def written(
    base: Base,
    prompt: SoftPrompt,
    tensors: Tensors,
    finetunes: Sequence[Finetune],
    decoding: Decoding,
) -> list[Answer]:
    """What the base writes when it reads each finetune's soft tokens.

    Args:
        base: Nothing attached, or switched off.
        prompt: With a gap for the soft tokens.
        tensors: Of the projection, on the base's device.
        finetunes: Low-rank.
        decoding: Length, temperature, batch.
    """
    answers: list[Answer] = []
    for start in range(0, len(finetunes), decoding.batch_size):
        part = finetunes[start : start + decoding.batch_size]
        vectors = soft_tokens(tensors, stacked(tensors, part), len(part))
        seeds = [seeds_of("read", 0, one, [""])[0] for one in part] if decoding.draws else None
        with prompt.filled(base, vectors):
            answers += generate(base, [prompt.ids] * len(part), decoding, seeds=seeds)
    return answers
