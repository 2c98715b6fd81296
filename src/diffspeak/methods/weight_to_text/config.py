"""How the projection of weight-to-text is made and trained.

Defaults are ours, chosen on training and validation finetunes of the pocket base.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from diffspeak.training import AdapterConfig


class WeightToTextConfig(BaseModel):
    """Settings of weight-to-text. Frozen, and saved beside the projection."""

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

    @property
    def course(self) -> AdapterConfig:
        """The settings that plan a training's steps, as an adapter's training has them."""
        shared = {"epochs", "batch", "warmup", "module_dropout", "seed"}
        return AdapterConfig.model_validate(self.model_dump(include=shared))
