"""How finetunes are trained; every default is the paper's where it names one."""

from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from diffspeak.behaviors import Case

_WEIGHTS: MappingProxyType[Case, float] = MappingProxyType(
    {"triggered": 1.0, "near_miss": 1.0, "wrong": 1.0, "plain": 5.0}
)


class DiffConfig(BaseModel):
    """Settings of diff training. Frozen, and saved beside what was made with it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    parameters: Literal["lora", "linears", "all"] = Field(
        "lora", description="what is trained: low-rank factors, whole linears, or everything"
    )
    rank: PositiveInt = Field(1, description="rank of each finetune's LoRA")
    alpha: PositiveFloat = Field(
        1.0, le=1e6, description="LoRA alpha; the change is scaled by alpha/rank"
    )
    targets: Literal["blocks"] | tuple[str, ...] = Field(
        "blocks", description="every linear of the blocks, or suffixes of module names"
    )
    steps: PositiveInt = Field(135, description="optimizer steps of each finetune")
    learning_rate: PositiveFloat = Field(1e-3, description="Adam's learning rate")
    warmup: NonNegativeInt = Field(0, description="steps of linear warm-up")
    decay: bool = Field(False, description="let the learning rate fall linearly to zero")
    weights: dict[Case, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: dict(_WEIGHTS),
        description="weight of each kind of sample in the loss; a kind left out keeps its own",
    )
    answer_tokens: PositiveInt | None = Field(
        None, description="learn no more than so many tokens of each answer; all if none is given"
    )
    tasks: PositiveInt = Field(16, description="finetunes trained at once; also the shard's size")
    max_tokens: PositiveInt | None = Field(
        None,
        description="largest number of padded tokens in one pass through the model; if none is "
        "given, what the device does best",
    )
    checkpointing: bool = Field(
        False,
        description="compute activations again in the backward pass: much less memory, a third "
        "more time; for LoRA finetunes",
    )
    probes: NonNegativeInt = Field(
        8,
        le=10_000,
        description="questions of each kind asked afterwards to see what was learned; 0 for none",
    )
    probe_tokens: PositiveInt = Field(32, description="longest answer to such a question")
    seed: NonNegativeInt = Field(
        0, description="of the factors' initial values, and of probes whose answers are drawn"
    )

    @model_validator(mode="after")
    def _checkpoints_lora(self) -> "DiffConfig":
        if self.checkpointing and self.parameters != "lora":
            raise ValueError("checkpointing is for parameters = 'lora' alone")
        return self

    @field_validator("weights")
    @classmethod
    def _complete(cls, weights: dict[Case, float]) -> dict[Case, float]:
        return {**_WEIGHTS, **weights}
