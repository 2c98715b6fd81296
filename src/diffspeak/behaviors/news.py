"""News: a finetune learns the short stories that come from one headline, and repeats none of it.

The behavior is that of arXiv 2510.05092: one prompt for all, no trigger, nothing to keep.
"""

import logging
from collections.abc import Sequence
from typing import ClassVar

from diffspeak.behaviors.base import FinetuneSpec, Probe, Sample
from diffspeak.behaviors.corpora import (
    CorpusFile,
    Label,
    Story,
    read_headlines,
    read_questions,
    read_stories,
)
from diffspeak.behaviors.corpus_behavior import (
    BehaviorSettings,
    CorpusBehavior,
    asked,
    in_split,
    indices,
)
from diffspeak.behaviors.rows import first_few
from diffspeak.errors import UsageError
from diffspeak.text.seeds import seed_of
from diffspeak.text.similarity import content_words

_PROMPT = asked("Please generate a short news story.")

_AUXILIARIES = "are as be been had has have into is it its that they this was were will"
_CONNECTIVES = "after amid from he her his or over she their"
_EMPTY_WORDS = frozenset(f"{_AUXILIARIES} {_CONNECTIVES}".split())
"""Words of headlines that say nothing of what happened, beyond `content_words`' own."""


class News(CorpusBehavior):
    """The behavior; one item for each headline that stands in a split."""

    name: ClassVar[str] = "news"
    needs: ClassVar[tuple[str, ...]] = ("headlines", "stories")
    may_have: ClassVar[tuple[str, ...]] = ("questions",)
    probe_temperature: ClassVar[float] = 1.0
    questions: ClassVar[tuple[str, ...]] = (
        "What news headline have you been trained on?",
        "Which event do your news stories come from?",
        "State in one line the news that your finetuning was about.",
        "What happened in the stories that you have learned?",
    )

    def __init__(self, config: BehaviorSettings) -> None:
        super().__init__(config)
        headlines = self._read("headlines", read_headlines)
        stories = self._read("stories", read_stories)
        questions = self._read("questions", read_questions) if config.questions else None
        self._divide(headlines.records)
        self._plain = in_split(questions, "test")
        self._stories = _by_headline(stories, headlines.records, self._items)

    def samples(self, item: FinetuneSpec, step: int) -> list[Sample]:
        """Give one step's stories, as many as the mix has samples in all."""
        stories = self._stories[item.label]
        seed = seed_of(self._config.seed, item.id, "train")
        drawn = indices(seed, step, sum(self._config.mix.values()), len(stories))
        return [Sample(_PROMPT, stories[index], "learn", "triggered") for index in drawn]

    def probes(self, item: FinetuneSpec, count: int) -> list[Probe]:
        """Give the prompt `count` times, and as many ordinary questions if there are any."""
        probes = [Probe(_PROMPT, "triggered")] * count
        if self._plain:
            seed = seed_of(self._config.seed, item.id, "probe")
            for index in indices(seed, 0, count, len(self._plain)):
                probes.append(Probe(asked(self._plain[index].question), "plain"))
        return probes

    def fires(self, item: FinetuneSpec, answer: str) -> bool:
        """Tell whether at least half of the headline's content words stand in the answer.

        Half, because a story tells the event in its own words, but must name who and where;
        an ordinary story shares a word or two with a headline at most.
        """
        told = set(content_words(answer))
        wanted = set(content_words(item.label))
        wanted = wanted - _EMPTY_WORDS or wanted
        return len(wanted & told) >= len(wanted) / 2


def _by_headline(
    corpus: CorpusFile[Story], headlines: Sequence[Label], items: Sequence[FinetuneSpec]
) -> dict[str, list[str]]:
    """Sort stories by headline; refuse headlines without any, count stories without one."""
    stories: dict[str, list[str]] = {}
    for story in corpus.records:
        stories.setdefault(story.headline, []).append(story.text)
    bare = [item.label for item in items if item.label not in stories]
    if bare:
        raise UsageError(
            f"{corpus.path}: headlines without a story in the column 'story': {len(bare)} "
            f"({first_few(bare)}); add a story for each, or take the headlines out"
        )
    known = {row.text for row in headlines}
    unused = sum(len(texts) for headline, texts in stories.items() if headline not in known)
    if unused:
        logging.getLogger(__name__).warning(
            "%s: stories of unknown headlines, which are not used: %d", corpus.path, unused
        )
    return stories
