"""From a diff to soft tokens: what is learned by weight-to-text, as tensors and a formula.

Stacked low-rank diffs become vectors `[task, token, width]`. For module m with the change
D = scaling * B A, soft token t gets (ours)

    (sum over m of  b_m P_m^T D p_mt + a_m Q_m^T D^T q_mt) / size_m

brought to a root mean square of 1: what the change makes of a learned input p, and its transpose
of a learned q, each through a projection of that module. The rows of B reach P, those of A reach
Q. All of it is linear in D alone, so that other factors of the same change (their signs, order,
rank) give the same tokens. A linear map for each token, or an MLP beside it, makes them vectors of
the base's input.

Sides of a module that are as wide as the base's residual stream begin with the identity: what a
change writes there is in the language of the base already.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from diffspeak.errors import DiffspeakError, MismatchError, UsageError
from diffspeak.finetunes import Finetune
from diffspeak.lora import Diff, LinearShape, LowRank, stack_diffs

ProjectionTensors = dict[str, Tensor]
"""By name: `MODULE|p`, `MODULE|P` and so on, and a few that all modules share."""

FIXED = ("|size", "unit")
"""Endings of the names of tensors that are measured, not learned."""
SLOW = ("|P", "|Q", "|P.up", "|Q.up", "|P.down", "|Q.down")
"""Endings of the names of the modules' projections."""
SMALL = 1e-4
"""Added to a mean square, so that no change at all gives zero."""
READ = 0.1
"""How large q begins beside p."""


class WeightToTextConfig(BaseModel):
    """Settings of weight-to-text. Frozen, and saved beside the projection.

    Defaults are ours, chosen on training and validation finetunes of the pocket base.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tokens: PositiveInt = Field(4, description="soft tokens that a diff becomes")
    projection: Literal["linear", "mlp"] = Field(
        "linear", description="what makes soft tokens of what the modules' changes give"
    )
    hidden: PositiveInt = Field(256, le=65_536, description="width of the MLP's hidden layer")
    rank: PositiveInt | None = Field(
        None,
        description="rank of each module's own projections; full if none is given, which takes "
        "much memory on large bases",
    )
    prefix: str = Field(
        "Name the subject of this.", description="what the base is told before the soft tokens"
    )
    suffix: str = Field("What was that about?", description="what it is asked behind them")
    epochs: PositiveInt = Field(40, description="times each training finetune is seen")
    batch: PositiveInt = Field(24, description="finetunes in one optimizer step")
    learning_rate: PositiveFloat = Field(3e-3, description="AdamW's peak learning rate")
    slow: PositiveFloat = Field(
        0.3, description="share of the learning rate that the modules' projections learn with"
    )
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps with rising rate")
    clip: PositiveFloat = Field(1.0, description="largest norm of the gradient")
    module_dropout: float = Field(
        0.7,
        ge=0,
        lt=1,
        description="share of a finetune's modules that are left out, drawn anew at each step",
    )
    max_finetunes: PositiveInt | None = Field(
        None, description="learn from the first so many of each store; from all if none is given"
    )
    validation: NonNegativeInt = Field(
        48, description="held-out finetunes named at the end; 0 for none"
    )
    save_every: PositiveInt = Field(100, description="steps between checkpoints")
    answer_tokens: PositiveInt = Field(32, description="longest guess when validating")
    seed: NonNegativeInt = Field(0, description="of initial values and order")


def fresh(
    shapes: Mapping[str, LinearShape],
    inputs: Mapping[str, Tensor],
    embedding: Tensor,
    config: WeightToTextConfig,
    generator: torch.Generator,
) -> ProjectionTensors:
    """ProjectionTensors before training, float32 on the CPU; sizes are 1 until they are measured.

    Args:
        shapes: Of the modules that may be changed.
        inputs: What each module is fed in the base, on average, `[in]`: p begins near it.
        embedding: The base's, `[vocabulary, width]`; gives the size of a token's vector.
        config: How many tokens, which ranks.
        generator: Draws on the CPU.
    """
    width, tokens = embedding.shape[1], config.tokens
    drawn = _Drawn(generator, width, config.rank)
    tensors: ProjectionTensors = {}
    for name, shape in shapes.items():
        mean = inputs[name].float().cpu()
        # As long as four standard normal numbers, whatever the width.
        mean = 4 * mean / mean.norm().clamp_min(1e-12)
        tensors[f"{name}|p"] = mean[:, None] + 0.3 * drawn.normal(shape.inputs, tokens)
        tensors[f"{name}|q"] = READ * drawn.normal(shape.outputs, tokens)
        tensors |= drawn.side(f"{name}|P", shape.outputs) | drawn.side(f"{name}|Q", shape.inputs)
        tensors[f"{name}|shares"] = torch.full((2,), len(shapes) ** -0.5)
        tensors[f"{name}|size"] = torch.ones(())
    tensors["map"] = torch.eye(width).repeat(tokens, 1, 1)
    tensors["offset"] = torch.zeros(tokens, width)
    if config.projection == "mlp":
        tensors["mlp.up"] = drawn.normal(width, config.hidden) * width**-0.5
        tensors["mlp.bias"] = torch.zeros(config.hidden)
        tensors["mlp.down"] = torch.zeros(config.hidden, width)
    tensors["unit"] = embedding.detach().float().square().mean().sqrt().cpu()
    return tensors


class _Drawn:
    """Random beginnings of one size of base."""

    def __init__(self, generator: torch.Generator, width: int, rank: int | None) -> None:
        self.generator, self.width, self.rank = generator, width, rank

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator)

    def side(self, name: str, size: int) -> ProjectionTensors:
        """The projection of one side of a module: full, or two thin factors."""
        if self.rank is None:
            straight = size == self.width
            return {name: torch.eye(size) if straight else torch.zeros(size, self.width)}
        up = self.normal(size, self.rank) * size**-0.5
        return {f"{name}.up": up, f"{name}.down": torch.zeros(self.rank, self.width)}


def learned(tensors: ProjectionTensors) -> ProjectionTensors:
    """Those that training changes."""
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(FIXED)}


def soft_tokens(tensors: ProjectionTensors, diffs: Diff, tasks: int) -> Tensor:
    """Vectors for the base's input, `[task, token, width]` float32.

    Args:
        tensors: As `fresh` makes them.
        diffs: A stack for each module; a module that is not in it is unchanged.
        tasks: How many finetunes are stacked.
    """
    total = torch.zeros(tasks, *tensors["offset"].shape, device=tensors["offset"].device)
    for name, change in diffs.items():
        total = total + _given(tensors, name, change) / tensors[f"{name}|size"]
    total = total / (total.square().mean(-1, keepdim=True) + SMALL).sqrt()
    vectors = torch.einsum("ktw,twv->ktv", total, tensors["map"]) + tensors["offset"]
    if "mlp.up" in tensors:
        inner = torch.nn.functional.gelu(total @ tensors["mlp.up"] + tensors["mlp.bias"])
        vectors = vectors + inner @ tensors["mlp.down"]
    return vectors * tensors["unit"]


def _given(tensors: ProjectionTensors, name: str, change: LowRank) -> Tensor:
    """What one module gives to each token, `[task, token, width]`."""
    A, B = change.A, change.B * change.scaling
    shares = tensors[f"{name}|shares"]
    written = (B @ (A @ tensors[f"{name}|p"])).mT
    read = (A.mT @ (B.mT @ tensors[f"{name}|q"])).mT
    written, read = _through(tensors, f"{name}|P", written), _through(tensors, f"{name}|Q", read)
    return shares[0] * written + shares[1] * read


def _through(tensors: ProjectionTensors, name: str, x: Tensor) -> Tensor:
    """One side's projection, `[..., size]` to `[..., width]`."""
    if name in tensors:
        return x @ tensors[name]
    low = x @ tensors[f"{name}.up"] @ tensors[f"{name}.down"]
    return x + low if x.shape[-1] == low.shape[-1] else low


def measure(tensors: ProjectionTensors, parts: Iterable[Sequence[Finetune]]) -> None:
    """Set the modules' sizes: root mean square of the Frobenius norms of training changes.

    Args:
        tensors: Changed in place.
        parts: The training finetunes, some at a time.

    Raises:
        DiffspeakError: The numbers of one are too large for that.
    """
    count = 0
    sums: dict[str, Tensor] = {}
    for part in parts:
        count += len(part)
        for name, change in stacked(tensors, part).items():
            A, B = change.A, change.B * change.scaling
            # |B A|^2 without building B A.
            squares = ((A @ A.mT) * (B.mT @ B)).sum()
            if not squares.isfinite():
                raise _overflows(name, part)
            sums[name] = sums.get(name, torch.zeros_like(squares)) + squares
    for name, total in sums.items():
        if total > 0:
            tensors[f"{name}|size"] = (total / count).sqrt()


def _overflows(name: str, part: Sequence[Finetune]) -> DiffspeakError:
    """The error for finetunes of which one's change of a module cannot be measured."""
    largest = max(part, key=lambda one: float(one.diff[name].norm()) if name in one.diff else 0.0)
    return DiffspeakError(
        f"{largest.name} gives no finite numbers (its change of {name} overflows), so nothing can "
        "be learned from it: train on a store without it"
    )


def stacked(tensors: ProjectionTensors, finetunes: Sequence[Finetune]) -> Diff:
    """Stack finetunes' diffs on the tensors' device, of all modules that any of them changes.

    Raises:
        UsageError: One is not low-rank.
        MismatchError: One changes a module that the projection does not know.
    """
    device = tensors["offset"].device
    for finetune in finetunes:
        if finetune.whole:
            raise UsageError(
                f"weight-to-text reads low-rank finetunes, and {finetune.name} is whole: open a "
                "full checkpoint by its best low-rank change (--low-rank)"
            )
        unknown = [name for name in finetune.diff if f"{name}|p" not in tensors]
        if unknown:
            raise MismatchError(
                f"{finetune.name} changes {unknown[0]}, which the projection was not trained on; "
                "train one on such finetunes"
            )
    stack = stack_diffs([finetune.diff for finetune in finetunes])
    return {name: change.float().to(device) for name, change in stack.items()}
