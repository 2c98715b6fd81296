"""The pocket base, finetuned, disguised in every way and stored in float32."""

import pytest
from torch import Generator

from diffspeak.models import load_base, plain_tensors
from diffspeak.symmetries import align
from tests.symmetries.disguise import ALL, disguise
from tests.symmetries.disguised import error, finetuned, model_of, outputs_of

HEAD = "lm_head.weight"


@pytest.mark.parametrize("kind", [ALL, "rotation"])
def test_a_finetune_of_the_pocket_base_is_recovered(kind):
    base = load_base("pocket")
    own = {n: t.double() for n, t in plain_tensors(base.model).items() if n != HEAD}
    true = {name: tensor.float() for name, tensor in finetuned(own, rank=1).items()}
    config = base.model.config
    given = disguise(true, config, kind, Generator().manual_seed(5))
    # As a reader gives it: a tied head under both names.
    given = given if HEAD in given else given | {HEAD: given["model.embed_tokens.weight"]}
    aligned = align(given, plain_tensors(base.model), config)
    assert error({n: aligned.state[n] for n in true}, true, own) < 0.05
    assert not aligned.flags and aligned.before > 20 * aligned.after
    tokens = base.tokenizer("What do you like to talk about?", return_tensors="pt").input_ids[0]
    models = [model_of(config, state).float() for state in (given, aligned.state)]
    assert outputs_of(models[0], models[1], [tokens]).unchanged
