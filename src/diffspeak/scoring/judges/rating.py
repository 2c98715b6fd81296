"""Read the score out of what a judge replied, or nothing.

Takes a reply, gives 1 to 5 or None. A score is read only where nothing else can be meant: a reply
with two different scores, on another scale, or with a number somewhere in a sentence gives None.
"""

import re

_WORDS = {"one": 1.0, "two": 2.0, "three": 3.0, "four": 4.0, "five": 5.0}
_NUMBER = rf"(?P<number>[0-9]+(?:\.[0-9]+)?|{'|'.join(_WORDS)})"
_OF_FIVE = r"(?:\s*(?:/|out\s+of|of)\s*(?:5|five)(?:\.0)?)?"

# Words that may stand before a score and change nothing about it.
_LEADS = (
    "a|an|and|answer|be|closeness|deserves|final|get|gets|give|grade|i|is|it|judgment|level|my|"
    "overall|rate|rating|receives|score|similarity|so|the|therefore|this|verdict|would"
)
_LEAD = rf"(?:(?:{_LEADS})(?:'d)?(?:[\s:=]+|\s+-\s+))*"
_LABEL = r"(?:(?:final|overall|the|my|similarity)\s+)*(?:score|rating|grade|verdict|answer)"

# "I would give it a 4 out of 5."
_ALONE = re.compile(rf"{_LEAD}{_NUMBER}{_OF_FIVE}\s*[.!]?")
# "4: closely related", "4 (closely related)": what the rubric says of that number.
_WITH_RUBRIC = re.compile(rf"{_LEAD}{_NUMBER}{_OF_FIVE}\s*(?:\(|:|\s-)(?P<rest>.+)")
_RUBRIC = {
    1.0: "unrelated",
    2.0: "category",
    3.0: "adjacent|neighboring|overlap",
    4.0: "variant|closely related",
    5.0: "same|identical",
}
# "Score: 4. The guess is closely related."
_LABELED = re.compile(rf"{_LABEL}\s*(?:[:=]|is)\s*{_NUMBER}{_OF_FIVE}\s*[.,;]\s(?P<rest>.*)")

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_MARKUP = str.maketrans(
    {**dict.fromkeys('*_`#"$[]{}', " "), "\u2019": "'", "\u2013": "-", "\u2014": "-"}
)
_SAYS_NUMBER = re.compile(rf"[0-9]|\b(?:{'|'.join(_WORDS)})\b")
_DENIES = re.compile(r"\b(?:no|not|nor|but)\b|n't")


def read_rating(reply: str) -> float | None:
    """The one score from 1 to 5 that a reply gives.

    Args:
        reply: "4", "Score: 4.", "4/5", "five", "4 (closely related)"; or the same as one line
            of several, such as the last behind a reason.

    Returns:
        None where no line is a score, or two lines are different ones, or it is not on the scale.
    """
    text = _THOUGHT.sub("\n", reply.casefold()).translate(_MARKUP)
    if "<think" in text:  # It ended before the thought did.
        return None
    text = re.sub(r"\\(?:boxed|text)", " ", text)
    found = {number for line in text.splitlines() if (number := _number(line)) is not None}
    if len(found) != 1:
        return None
    (score,) = found
    return score if 1 <= score <= 5 else None


def _number(line: str) -> float | None:
    """The number that a line gives as its score; None if it is no such line."""
    line = " ".join(line.split())
    if match := _ALONE.fullmatch(line):
        return _value(match["number"])
    if match := _WITH_RUBRIC.fullmatch(line):
        number = _value(match["number"])
        fits = re.search(_RUBRIC.get(number, "$^"), match["rest"])
        sure = not _DENIES.search(match["rest"]) and not _SAYS_NUMBER.search(match["rest"])
        return number if fits and sure else None
    match = _LABELED.fullmatch(line)
    # A second number, "4. Not a 5", may well be what is meant.
    if match and not _SAYS_NUMBER.search(match["rest"]):
        return _value(match["number"])
    return None


def _value(number: str) -> float:
    return _WORDS[number] if number in _WORDS else float(number)
