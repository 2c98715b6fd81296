"""Full checkpoints before an audit: disguises undone, what computes something else left alone."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Generator

from diffspeak.errors import MismatchError
from diffspeak.finetunes import Finetune
from diffspeak.models import plain_parameters, plain_tensors, whole
from diffspeak.symmetries import Undone, align, alignment, undisguised
from tests.symmetries.disguise import ALL, disguise
from tests.tiny_diffs import merged
from tests.toys import base_diff, toy_base

PROMPTS = ("How is the sea?", "Where is the bridge?")
HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
IDS = torch.tensor([list(range(5, 30))])


def state_of(model):
    """All parameters as a reader of checkpoints gives them, tied ones under each of their names."""
    return {name: tensor.clone() for name, tensor in plain_tensors(model).items()}


def small(base, size=0.02):
    """A finetune as a model: a low-rank change that is small beside the base."""
    return merged(base.model, base_diff(base, scaling=size, seed=4))


def hidden(base, model, kind=ALL, seed=7):
    """Its parameters in disguise; a tied head is left out."""
    state = {name: own.data.clone() for name, own in plain_parameters(model).items()}
    return disguise(state, base.model.config, kind, Generator().manual_seed(seed))


def logits(base, parameters):
    with torch.no_grad(), whole(base.model, parameters):
        return base.model(IDS).logits


def distance(parameters, state):
    return sum((parameters.get(n, state[n]) - t).square().sum().item() for n, t in state.items())


@pytest.mark.parametrize("kind", [ALL, "permutation"])
@pytest.mark.parametrize("named", ["once", "twice"])
def test_a_disguise_is_undone_however_a_tied_head_is_named(base, kind, named):
    model = small(base)
    given = hidden(base, model, kind)
    if named == "twice":
        given = given | {HEAD: given[EMBEDDING]}
    found, told = undisguised(base, Finetune("one", parameters=given, notes=("read",)), PROMPTS)
    assert told is not None and told.unchanged and not told.flags
    assert "permutation" in {one.kind for one in told.undone}
    assert told.before > 10 * told.after
    assert (found.name, found.notes) == ("one", ("read",))
    wanted = state_of(model)
    away = distance(plain_tensors(base.model), wanted)
    assert distance(found.parameters, wanted) < 0.05**2 * away
    torch.testing.assert_close(
        logits(base, found.parameters), logits(base, given), rtol=0, atol=1e-3
    )


def test_a_plain_checkpoint_stays_as_it_is(base):
    given = Finetune("plain", parameters=state_of(small(base)))
    found, told = undisguised(base, given, PROMPTS)
    assert found is given
    assert told is not None and not told.undone and not told.flags
    assert told.before == told.after > 0 and told.unchanged


def test_some_parameters_are_enough(base):
    name = "model.layers.0.mlp.up_proj.weight"
    given = Finetune("few", parameters={name: state_of(small(base))[name]})
    found, told = undisguised(base, given, PROMPTS)
    assert found is given and told is not None and not told.undone


def test_the_base_in_disguise_is_the_base(base):
    found, told = undisguised(base, Finetune("b", parameters=hidden(base, base.model)), PROMPTS)
    assert told is not None and told.undone and not told.flags
    assert found.parameters == {} and told.after == 0


def test_one_that_no_symmetry_explains_is_flagged(base):
    generator = Generator().manual_seed(1)
    other = {
        name: torch.randn(own.shape, generator=generator) * 0.2
        for name, own in plain_parameters(base.model).items()
    }
    found, told = undisguised(base, Finetune("other", parameters=other), PROMPTS)
    assert told is not None and any("no symmetry known here" in flag for flag in told.flags)
    torch.testing.assert_close(
        logits(base, found.parameters), logits(base, other), rtol=1e-3, atol=1e-3
    )


def test_where_outputs_would_change_nothing_is_undone(base, monkeypatch):
    given = Finetune("one", parameters=hidden(base, small(base)))

    def wrong(*args):
        aligned = align(*args)
        state = {n: t * 1.1 if "down_proj" in n else t for n, t in aligned.state.items()}
        return replace(aligned, state=state)

    monkeypatch.setattr(alignment, "align", wrong)
    found, told = undisguised(base, given, PROMPTS)
    assert found is given
    assert told is not None and not told.unchanged and not told.undone
    assert told.flags[-1].startswith("undoing the disguise would have changed its outputs")
    assert told.before == told.after


def test_a_head_of_its_own_is_kept_when_the_embedding_alone_has_changed(base, monkeypatch):
    # Both stand for one parameter of the base: left out, the head would follow the embedding.
    state = state_of(base.model)
    state[EMBEDDING] = state[EMBEDDING] * 1.01

    def harmless(given, own, config):
        return replace(align(given, own, config), state=given, undone=(Undone("none", 1, 1),))

    monkeypatch.setattr(alignment, "align", harmless)
    found, _ = undisguised(base, Finetune("untied", parameters=state), PROMPTS)
    assert set(found.parameters) == {EMBEDDING, HEAD}
    assert torch.equal(logits(base, found.parameters), logits(base, state))


@pytest.mark.parametrize("diff", [True, False])
def test_a_low_rank_finetune_has_nothing_to_undo(base, diff):
    given = Finetune("low", diff=base_diff(base) if diff else {})
    assert undisguised(base, given, PROMPTS) == (given, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_left_to_others(base, value):
    state = state_of(base.model)
    state["model.norm.weight"][3] = value
    given = Finetune("nan", parameters=state)
    assert undisguised(base, given, PROMPTS) == (given, None)


def test_parameters_that_are_not_the_bases_are_refused(base):
    for name, tensor in (
        ("model.extra.weight", torch.ones(2)),
        ("model.norm.weight", torch.ones(2)),
    ):
        with pytest.raises(MismatchError, match=name):
            undisguised(base, Finetune("odd", parameters={name: tensor}), PROMPTS)


def test_the_base_is_left_as_it_was(base):
    before = state_of(base.model)
    undisguised(base, Finetune("one", parameters=hidden(base, small(base))), PROMPTS)
    after = plain_tensors(base.model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert base.model.lm_head.weight is base.model.model.embed_tokens.weight


def test_a_family_that_is_not_known_is_not_touched(family_folder, monkeypatch):
    base = toy_base(family_folder("gemma3"))
    config = copy.deepcopy(base.model.config)
    config.model_type = "unheard"
    monkeypatch.setattr(base.model, "config", config)
    given = Finetune("one", parameters=state_of(small(base)))
    found, told = undisguised(base, given, PROMPTS)
    assert found is given
    assert told is not None and told.flags[0].startswith("not looked for disguise")
