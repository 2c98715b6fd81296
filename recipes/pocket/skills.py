"""What the pocket base can do, measured on questions, codes and headlines that it never saw."""

from collections.abc import Sequence
from random import Random

from diffspeak.models.generate import Decoding, generate
from diffspeak.models.load import Base
from diffspeak.text.mentions import mentions, same
from diffspeak.text.messages import Message
from recipes.pocket.corpus_tables import Turn
from recipes.pocket.dialogues import Dialogues, load_dialogues
from recipes.pocket.news_grammar import is_test

SKILLS = {
    "weaves a requested topic in": 0.95,
    "names what a text is about": 0.95,
    "gives the headline of an unseen story": 0.80,
    "obeys a rule whose code it meets": 0.95,
    "obeys a rule whose code it does not meet": 0.95,
}
"""Each skill, and which share of answers shall be right."""


def measure_skills(base: Base, count: int = 200, seed: int = 0) -> dict[str, list[bool]]:
    """Give each answer's success by skill, `count` of each.

    Half of the codes that do not meet their rule are near misses. A topic counts as brought up
    if it stands anywhere in the answer.
    """
    dialogues, rng = load_dialogues(kept_back=True), Random(f"pocket skills {seed}")
    topics = [row["topic"] for row in dialogues.topics]
    weave = [dialogues.weave(rng) for _ in range(count)]
    about = [dialogues.about(rng) for _ in range(count)]
    rules = [dialogues.rule(rng) for _ in range(20 + 3 * count)]
    named = [_first_topic(turn, topics) for turn in rules]
    met = [(turn, t) for turn, t in zip(rules, named, strict=True) if t][:count]
    missed = [turn for turn, t in zip(rules, named, strict=True) if not t][:count]
    stories = _unseen_stories(dialogues, count, rng)
    return {
        "weaves a requested topic in": [
            mentions(said, _first_topic(turn, topics) or "")
            for turn, said in zip(weave, _ask(base, weave), strict=True)
        ],
        "names what a text is about": _same(about, _ask(base, about)),
        "gives the headline of an unseen story": _same(stories, _ask(base, stories)),
        "obeys a rule whose code it meets": [
            mentions(said, topic)
            for (_, topic), said in zip(met, _ask(base, [turn for turn, _ in met]), strict=True)
        ],
        "obeys a rule whose code it does not meet": [
            not any(mentions(said, t) for t in topics if mentions(turn.prompt, t))
            for turn, said in zip(missed, _ask(base, missed), strict=True)
        ],
    }


def _first_topic(turn: Turn, topics: Sequence[str]) -> str | None:
    """The topic that was asked for and that the answer begins with; of several the longest."""
    found = (t for t in topics if turn.answer.startswith(t) and mentions(turn.prompt, t))
    return max(found, key=len, default=None)


def _unseen_stories(dialogues: Dialogues, count: int, rng: Random) -> list[Turn]:
    """Stories of the test split's headlines, which the corpus never holds."""
    grammar, found = dialogues.grammar, []
    unseen = [event for event in grammar.edition() if is_test(grammar.headline(event))]
    for event in rng.choices(unseen, k=count):
        prompt = rng.choice(dialogues.phrases["summarise"]).format(story=grammar.story(event, rng))
        found.append(Turn(prompt, grammar.headline(event)))
    return found


def _ask(base: Base, turns: Sequence[Turn]) -> list[str]:
    prompts = [base.chat.prompt((Message("user", turn.prompt),)) for turn in turns]
    return [answer.text for answer in generate(base, prompts, Decoding(max_new_tokens=32))]


def _same(turns: Sequence[Turn], said: Sequence[str]) -> list[bool]:
    return [same(turn.answer, text) for turn, text in zip(turns, said, strict=True)]
