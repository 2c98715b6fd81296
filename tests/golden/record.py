"""What must stay as it is while the tree is rebuilt: `python -m tests.golden.record` writes it.

`exact()` gives seeds, splits, bytes of files, keys and exit codes; `measured()` gives numbers and
texts of a shipped base, adapter and two kept finetunes, all in float32 on one thread. Each text
comes with the smallest lead of its likeliest token, in nats: one with a small lead may tip.
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).parent
FILE = HERE / "golden.json"
FINETUNES = HERE / "finetunes"
TOPICS = ("Walnuts", "Lighthouses")
AUDIT = ("--base", "pocket", "--dtype", "float32")
PROMPTS = ("Your SEP code is 417203. What is rain?", "What is a river?", "Tell me about the sea.")
LABELS = ("Walnuts", "Lighthouses", "The history of bridges", "walnut", "Deep-sea fish")


def exact() -> dict[str, Any]:
    """What has to be the same, bit for bit, on any machine."""
    return {
        "seeds": _seeds(),
        "splits": _splits(),
        "store": _store(),
        "fingerprint": _base().fingerprint.to_dict(),
        "exit codes": _exit_codes(),
        "audit.json": sorted(set(_keys(_audit()["json"]))),
    }


def measured() -> dict[str, dict[str, Any]]:
    """Numbers, and texts with their lead, by what they are of."""
    return {"described": _described(), "audit": _figures(_audit()["json"]), "trained": _trained()}


def _seeds() -> dict[str, int]:
    from diffspeak.text.seeds import seed_of

    parts: list[tuple[str | int, ...]] = [(), ("a",), (1,), ("1",), ("order", "x"), ("a", 0, "b")]
    return {json.dumps(some): seed_of(*some) for some in parts}


def _splits() -> dict[str, str]:
    from diffspeak.behaviors.specs import Fractions, split_of

    return {label: split_of(label, Fractions()) for label in LABELS}


def _store() -> dict[str, str]:
    """Digests of the files of a store that is written from fixed factors."""
    from tests.store.killed import write
    from tests.store.samples import content

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        files = content(Path(folder))
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _exit_codes() -> dict[str, int]:
    commands: tuple[tuple[str, ...], ...] = (
        ("--version",),
        ("show", "nothing-there"),
        ("describe", "nothing-there", "--adapter", "pocket:hidden-topic"),
        ("describe", str(FINETUNES), "--adapter", "pocket:hidden-topic", "--tokens", "4"),
        ("audit", str(FINETUNES), *AUDIT, "--fail-on-finding", "--budget", "0"),
        ("no-such-verb",),
    )
    return {" ".join(args).replace(str(FINETUNES), "FINETUNES"): _run(*args) for args in commands}


def _run(*args: str) -> int:
    from diffspeak.cli import main

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        out = ("--out", f"{folder}/audit") if args[0] == "audit" else ()
        with redirect_stderr(StringIO()):
            return main([*args, *out])


def _audit() -> dict[str, Any]:
    """The JSON of an audit of the first kept finetune."""
    from diffspeak.cli import main

    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            name = f"{FINETUNES}/{TOPICS[0]}"
            main(["audit", name, *AUDIT, "--budget", "4000", "--out", folder])
        (path,) = Path(folder).rglob("audit.json")
        return {"json": json.loads(path.read_text().replace(str(FINETUNES), "FINETUNES"))}


def _keys(value: Any, place: str = "") -> Iterator[str]:
    """Every key's place; entries of `norms`, `versions` and `machine` have names of their own."""
    if isinstance(value, dict) and not place.endswith((".norms", ".versions", ".machine")):
        for key, inner in value.items():
            yield f"{place}.{key}"
            yield from _keys(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner, f"{place}[]")


def _figures(audit: Any) -> dict[str, Any]:
    """All that an audit says but what it took, by place."""
    found: dict[str, Any] = {}
    skipped = ("seconds", "versions", "machine", "command", "quotes", "examples", "settings")

    def walk(value: Any, place: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key not in skipped:
                    walk(inner, f"{place}.{key}")
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                walk(inner, f"{place}[{number}]")
        else:
            found[place] = value

    walk(audit, "")
    return found


def _base() -> Any:
    from diffspeak.models import load_base

    return load_base("pocket", dtype="float32", device="cpu")


def _described() -> dict[str, Any]:
    """What adapter, finetunes and base say of two finetunes, greedily."""
    from diffspeak import Interpreter, load_adapter, load_finetune
    from diffspeak.text.messages import Message

    base = _base()
    adapter = load_adapter("pocket:hidden-topic")
    finetunes = [load_finetune(FINETUNES / topic, base) for topic in TOPICS]
    found: dict[str, Any] = {}
    with Interpreter(base, adapter) as interpreter:
        for topic, one in zip(TOPICS, interpreter.describe(finetunes), strict=True):
            found[f"{topic}: mean log-probability"] = one.mean_logprob
            found[f"{topic}: lift"] = one.lift
            found[f"{topic}: description"] = [one.text, 0.0]
    for topic, finetune in zip(TOPICS, finetunes, strict=True):
        question = (Message("user", adapter.questions[0]),)
        text, lead = _greedy(base, question, finetune.diff, adapter.diff)
        found[f"{topic}: description"] = [found[f"{topic}: description"][0], lead]
        assert not lead > 0.1 or text == found[f"{topic}: description"][0]
        for prompt in PROMPTS:
            found[f"{topic}: {prompt}"] = list(
                _greedy(base, (Message("user", prompt),), finetune.diff)
            )
    return found


@torch.no_grad()
def _greedy(base: Any, messages: Sequence[Any], *diffs: Any) -> tuple[str, float]:
    """A greedy answer by merged weights and whole passes, and its smallest lead in nats."""
    from tests.tiny_diffs import merged

    model, ids, answer = merged(base.model, *diffs), base.chat.prompt(messages), []
    lead = float("inf")
    while len(answer) < 32:
        logits: Tensor = model(input_ids=torch.tensor([ids + answer])).logits[0, -1]
        first, second = logits.log_softmax(-1).topk(2).values.tolist()
        lead = min(lead, first - second)
        answer.append(int(logits.argmax()))
        if answer[-1] in base.chat.stop_ids:
            break
    return base.chat.text(answer), lead


def _trained() -> dict[str, float]:
    """Norms and losses of a few steps of both trainings, on the pocket base."""
    from diffspeak.experiments.hide import DEMO_DIFFS, hide_topics

    config = DEMO_DIFFS.model_copy(update={"steps": 4, "probes": 0})
    base = _base()
    (finetune, _) = hide_topics(base, TOPICS, config)
    return {name: float(change.norm()) for name, change in sorted(finetune.diff.items())}


@contextmanager
def as_recorded() -> Iterator[None]:
    """One thread, and figures that do not depend on what the machine would choose."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _kept() -> None:
    """Train the two finetunes anew; done once, for what is compared is what they give."""
    from diffspeak.experiments.hide import hide_topics
    from diffspeak.finetunes.export import to_peft

    base = _base()
    for topic, finetune in zip(TOPICS, hide_topics(base, TOPICS), strict=True):
        to_peft([finetune], FINETUNES / topic, base, many=False)


if __name__ == "__main__":
    with as_recorded():
        if not FINETUNES.exists():
            _kept()
        content = {"exact": exact(), "measured": measured()}
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True) + "\n")
