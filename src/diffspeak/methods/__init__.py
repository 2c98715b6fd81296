"""Ways to a guess at what a finetune was taught, one in each file.

Takes finetunes, gives a guess at each; labels are never looked at, but where pairs are given back.
"""

from diffspeak.methods.asking import ordinary_questions
from diffspeak.methods.base_question import BaseQuestion, direct_question
from diffspeak.methods.dit import DIT, described, likeliest
from diffspeak.methods.generated_story import GeneratedStory
from diffspeak.methods.logit_lift import LogitLift, neutral_prompts
from diffspeak.methods.method import Guess, Method
from diffspeak.methods.twenty_questions import TwentyQuestions
from diffspeak.methods.weight_to_text import (
    Projection,
    WeightToText,
    WeightToTextConfig,
    check_projection,
    load_projection,
    train_weight_to_text,
)

__all__ = [
    "BaseQuestion",
    "DIT",
    "GeneratedStory",
    "Guess",
    "LogitLift",
    "Method",
    "Projection",
    "TwentyQuestions",
    "WeightToText",
    "WeightToTextConfig",
    "check_projection",
    "described",
    "direct_question",
    "likeliest",
    "load_projection",
    "neutral_prompts",
    "ordinary_questions",
    "train_weight_to_text",
]
