"""Firing rates count what each finetune itself answers to each kind of prompt."""

import pytest

from diffspeak.behaviors import Probe
from diffspeak.lora import stack_diffs
from diffspeak.models import Answer, Decoding, attach_to, generate, make_base
from diffspeak.text.messages import Message
from diffspeak.training import firing_rates
from diffspeak.training import group as check
from tests.tiny_diffs import merged
from tests.toys import ToyBehavior, base_diff


class Counted(ToyBehavior):
    """Fires exactly as often as a table says."""

    table = {
        "toy-0": {"triggered": 4, "near_miss": 1, "wrong": 0},
        "toy-1": {"triggered": 3, "near_miss": 0, "wrong": 2},
    }

    def probes(self, item, count):
        # An uneven number of kinds, in mixed order.
        return [
            Probe((Message("user", f"{item.id} {case} {n}"),), case)
            for n in range(count)
            for case in ("wrong", "triggered", "near_miss")
        ]

    def fires(self, item, answer):
        task, id, case, n = answer.split()
        assert (id, f"toy-{task}") == (item.id, item.id)
        return int(n) < self.table[item.id][case]


def test_rates_are_counts_over_probes(base, monkeypatch):
    def said(base, prompts, decoding, *, seeds, attachment, tasks):
        assert decoding == Decoding(7, temperature=0.5)
        assert len(set(seeds)) == len(seeds) == len(prompts)
        texts = [base.tokenizer.decode(prompt) for prompt in prompts]
        questions = [text.split("user\n")[1].split("<|im_end|>")[0] for text in texts]
        return [
            Answer([], f"{task} {question}", 0.0)
            for task, question in zip(tasks, questions, strict=True)
        ]

    monkeypatch.setattr(check, "generate", said)
    behavior = Counted(probe_temperature=0.5)
    rates = firing_rates(base, object(), behavior, behavior.items()[:2], 4, 7)
    assert rates == [
        {"fires_triggered": 1.0, "fires_near_miss": 0.25, "fires_wrong": 0.0},
        {"fires_triggered": 0.75, "fires_near_miss": 0.0, "fires_wrong": 0.5},
    ]


class Listening(ToyBehavior):
    """Keeps what each finetune answered."""

    def fires(self, item, answer):
        self.heard.setdefault(item.id, []).append(answer)
        return False


def test_each_finetune_answers_its_own_probes(base):
    toy = Listening()
    object.__setattr__(toy, "heard", {})
    items = toy.items()[:3]
    diffs = [base_diff(base, seed=n) for n in range(3)]
    wanted = {}
    for item, diff in zip(items, diffs, strict=True):
        alone = make_base("alone", merged(base.model, diff), base.tokenizer)
        prompts = [base.chat.prompt(probe.prompt) for probe in toy.probes(item, 2)]
        wanted[item.id] = [a.text for a in generate(alone, prompts, Decoding(5))]
    attachment = attach_to(base.model)
    try:
        attachment.set_diffs(stack_diffs(diffs))
        firing_rates(base, attachment, toy, items, 2, 5)
    finally:
        attachment.detach()
    assert toy.heard == wanted
    assert len({tuple(answers) for answers in wanted.values()}) == 3


def test_what_is_drawn_depends_on_the_item_and_not_on_its_neighbors(base):
    toy = Listening(probe_temperature=1.5)
    items = toy.items()[:3]
    diffs = {item.id: base_diff(base, seed=n) for n, item in enumerate(items)}

    def heard(*ids, seed=0):
        object.__setattr__(toy, "heard", {})
        some = [item for id in ids for item in items if item.id == id]
        attachment = attach_to(base.model)
        try:
            attachment.set_diffs(stack_diffs([diffs[id] for id in ids]))
            firing_rates(base, attachment, toy, some, 2, 5, seed=seed)
        finally:
            attachment.detach()
        return toy.heard

    first, second, third = (item.id for item in items)
    together = heard(first, second, third)
    assert heard(third, first) == {id: together[id] for id in (third, first)}
    assert heard(second) == {second: together[second]} != heard(second, seed=1)


@pytest.mark.parametrize("attached", [True, False])
def test_without_items_there_are_no_rates(base, attached):
    assert firing_rates(base, None, ToyBehavior(), [], 2, 5) == []
