"""How the adapter is trained; defaults are the paper's where it names one."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from diffspeak.behaviors.ordinary import NOTHING_LABEL


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
