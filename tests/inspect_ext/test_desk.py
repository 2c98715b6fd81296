"""Together as alone: who shares a batch changes no answer, and no request is lost."""

import pytest

from diffspeak.adapters import Interpreter, load_adapter
from diffspeak.errors import CorruptFileError, UsageError
from diffspeak.finetunes import NOTHING, load_finetune
from diffspeak.inference import answers, engine
from diffspeak.inspect_ext import batcher as module
from diffspeak.inspect_ext.batcher import Desk, Request
from diffspeak.inspect_ext.loading import Loaded
from diffspeak.lora import DiffLinear
from diffspeak.models import Decoding
from diffspeak.text.messages import Message

PROMPTS = ("What is a volcano?", "Who are you, and where do you come from?")


@pytest.fixture
def desk(base):
    opened = Desk(Loaded(base, NOTHING, None, None))
    yield opened
    opened.close()


def requests(store, tokens=6):
    names = (None, f"{store}#chess", f"{store}#whole", f"{store}#sea")
    return [Request((Message("user", p),), n, tokens) for p in PROMPTS for n in names]


def test_many_finetunes_at_once_answer_as_each_does_alone(base, store, monkeypatch):
    batches = []

    def counted(*args, **kwargs):
        batches.append(len(args[1]))
        return real(*args, **kwargs)

    real = engine.generate
    monkeypatch.setattr(engine, "generate", counted)
    monkeypatch.setattr(module, "GATHER", 0.2)
    desk = Desk(Loaded(base, NOTHING, None, None))
    futures = [desk.ask(request) for request in requests(store)]
    texts = [future.result(60).answer.text for future in futures]
    desk.close()
    used = sorted(batches)
    finetunes = [
        NOTHING,
        *(load_finetune(f"{store}#{id}", base) for id in ("chess", "whole", "sea")),
    ]
    alone = answers(base, finetunes, PROMPTS, Decoding(6))
    assert texts == [each[place] for place in range(len(PROMPTS)) for each in alone]
    # What is low-rank shares one pass, and so does what the whole one is asked.
    assert used == [2, 6] and len(set(texts)) > 4


def test_when_it_is_closed_nothing_is_left_on_the_base(base, store):
    adapter = load_adapter("pocket:hidden-topic")
    desk = Desk(Loaded(base, load_finetune(f"{store}#chess", base), adapter, None))
    late = [desk.ask(request) for request in requests(store, tokens=2)]
    desk.close()
    assert all(future.done() and future.result().answer.ids for future in late)
    assert not [part for part in base.model.modules() if isinstance(part, DiffLinear)]
    with Interpreter(base, adapter):
        pass


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"finetune": "nowhere"}, "nowhere does not exist"),
        ({"finetune": "{store}#none"}, "holds no finetune 'none'"),
        ({"finetune": "{store}#lost"}, "training failed"),
        ({"finetune": "{store}"}, "holds 3 finetunes; name one"),
        ({"max_tokens": 2000}, "longer than the 1024 positions"),
    ],
)
def test_a_faulty_request_harms_no_other(desk, store, change, said):
    named = {k: v.format(store=store) if isinstance(v, str) else v for k, v in change.items()}
    faulty = Request(**{"messages": (Message("user", "Hi"),), "max_tokens": 3, **named})
    good = Request((Message("user", "Hi"),), None, 3)
    before, bad, after = desk.ask(good), desk.ask(faulty), desk.ask(good)
    with pytest.raises(UsageError, match=said):
        bad.result(60)
    assert before.result(60).answer.text == after.result(60).answer.text


def test_a_batch_that_fails_tells_all_who_asked(desk, monkeypatch):
    def fails(*_, **__):
        raise CorruptFileError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "generate", fails)
        futures = [desk.ask(Request((Message("user", "Hi"),))) for _ in range(3)]
        for future in futures:
            with pytest.raises(CorruptFileError, match="no luck"):
                future.result(60)
    assert desk.ask(Request((Message("user", "Hi"),), None, 2)).result(60).answer.ids


def test_without_a_length_an_answer_has_the_room_that_is_left(desk):
    assert desk._length(10, None) == module.LONGEST
    assert desk._length(1000, None) == 25 and desk._length(1024, None) == 1
    with pytest.raises(UsageError, match="1024 positions"):
        desk._length(1025, None)


def test_other_settings_wait_for_their_own_batch(desk, monkeypatch):
    monkeypatch.setattr(module, "GATHER", 0.1)
    hi = (Message("user", "Hi"),)
    futures = [desk.ask(Request(hi, None, n)) for n in (1, 2, 1, 3)]
    assert [len(future.result(60).answer.ids) for future in futures] == [1, 2, 1, 3]
    first, again, other = (desk.ask(Request(hi, None, 8, 1.0, n)) for n in (1, 1, 2))
    assert first.result(60).answer == again.result(60).answer != other.result(60).answer
