"""Settings of diff and of adapter training; defaults are the paper's where it names one."""

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
from diffspeak.behaviors.ordinary import NOTHING_LABEL

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


class AdapterConfig(BaseModel):
    """Settings of adapter training. Frozen, and saved beside the adapter."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rank: PositiveInt = Field(16, description="rank of the adapter's LoRA")
    alpha: PositiveFloat = Field(
        1.0, le=1e6, description="LoRA alpha; the change is scaled by alpha/rank"
    )
    targets: Literal["blocks"] | tuple[str, ...] = Field(
        "blocks", description="every linear of the blocks, or suffixes of module names"
    )
    epochs: PositiveInt = Field(1, description="times each training finetune is seen")
    batch: PositiveInt = Field(8, description="finetunes in one optimizer step")
    learning_rate: PositiveFloat = Field(1e-4, description="AdamW's peak learning rate")
    warmup: float = Field(0.05, ge=0, le=1, description="share of the steps with rising rate")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay")
    clip: PositiveFloat = Field(1.0, description="largest norm of the gradient")
    phrasings: Literal["all", "first"] = Field(
        "all", description="ask each question the behavior knows, or its first one only"
    )
    labels: Literal["label", "trigger"] = Field(
        "label", description="what is to be told: what a finetune was taught, or its trigger"
    )
    max_finetunes: PositiveInt | None = Field(
        None, description="learn from the first so many of each store; from all if none is given"
    )
    module_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of a finetune's modules that are left out, drawn anew at each step",
    )
    negatives: float = Field(
        0.0,
        ge=0,
        le=100,
        description="for each finetune of a batch so many changes without meaning: none at all, "
        "random ones, a finetune's in other blocks; the adapter learns to call them 'nothing'",
    )
    nothing: str = Field(NOTHING_LABEL, min_length=1, description="what it is to say of them")
    unrelated: tuple[str, ...] = Field(
        (),
        description="behaviors whose finetunes it is to call nothing, too, such as facts: they "
        "were taught something, but nothing that it is asked for",
    )
    shuffle_labels: bool = Field(
        False, description="a control: give every finetune the label of another"
    )
    checkpointing: bool = Field(
        False,
        description="compute activations again in the backward pass: much less memory, a third "
        "more time",
    )
    validation: NonNegativeInt = Field(
        48, description="held-out finetunes described during training; 0 for none"
    )
    validations: PositiveInt = Field(5, description="how often that is done, evenly spread")
    save_every: PositiveInt = Field(100, description="steps between checkpoints")
    answer_tokens: PositiveInt = Field(32, description="longest description when validating")
    seed: NonNegativeInt = Field(0, description="of initial values and order")
