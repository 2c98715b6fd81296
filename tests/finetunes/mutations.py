"""Adapter folders that were damaged, and what becomes of them: here, and by PEFT itself.

Two hundred folders are made from a seed: bytes flipped, tensors and settings dropped, renamed,
doubled, of other shapes and kinds, configs of other tools. Each is opened in one process, on one
base. `python -m tests.finetunes.mutations` writes what came out to docs/results/mutations.md.
"""

import copy
import hashlib
import json
import shutil
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import peft.peft_model
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffspeak.errors import DiffspeakError
from diffspeak.finetunes import Finetune, load_finetune, put_on
from diffspeak.models import Base, attach_to, load_base
from tests.finetunes.variants import IDS, make

COUNT = 200
SECONDS = 10.0
INFINITE = "gives numbers that are not finite"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KINDS = (
    "LoRA",
    "LoRA, rank_pattern and alpha_pattern",
    "LoRA, targets by a regex",
    "LoRA, some layers",
    "DoRA",
    "LoRA, modules_to_save: head",
    "LoRA on the embedding",
    "IA3",
    "LoHa",
)
"""What is damaged."""

Tensors = dict[str, Tensor]
Change = Callable[[Random, Path], None]


def _tensors(change: Callable[[Random, Tensors], None]) -> Change:
    def changed(rng: Random, folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(rng, tensors)
        whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})

    return changed


def _config(change: Callable[[Random, dict[str, Any]], None]) -> Change:
    def changed(rng: Random, folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text())
        change(rng, content)
        (folder / CONFIG).write_text(json.dumps(content))

    return changed


def _flip(name: str) -> Change:
    def changed(rng: Random, folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (folder / name).write_bytes(data)

    return changed


def _flip_header(rng: Random, folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[rng.randrange(8 + int.from_bytes(data[:8], "little"))] ^= 1 << rng.randrange(8)
    (folder / WEIGHTS).write_bytes(data)


def _cut(rng: Random, folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    shorter = rng.random() < 0.8
    data = data[: rng.randrange(len(data))] if shorter else data + bytes(rng.randrange(9))
    (folder / WEIGHTS).write_bytes(data)


def _drop(rng: Random, tensors: Tensors) -> None:
    for name in rng.sample(sorted(tensors), rng.randint(1, 3)):
        del tensors[name]


def _drop_module(rng: Random, tensors: Tensors) -> None:
    module = rng.choice(sorted(tensors)).split(".lora_")[0]
    for name in [name for name in tensors if name.startswith(module)]:
        del tensors[name]


def _rename(rng: Random, tensors: Tensors) -> None:
    old = rng.choice(sorted(tensors))
    pairs = (
        ("layers.0", "layers.1"), ("layers.1", "layers.7"), ("base_model.model.", ""),
        ("q_proj", "k_proj"), ("up_proj", "gate_proj"), ("lora_A", "lora_B"), ("lora_", "LORA_"),
        (".weight", ".default.weight"), ("model.layers", "model.decoder.layers"), ("proj", "pro"),
    )  # fmt: skip
    tensors[old.replace(*rng.choice(pairs))] = tensors.pop(old)


def _double(rng: Random, tensors: Tensors) -> None:
    old = rng.choice(sorted(tensors))
    new = old.replace(*rng.choice((("v_proj", "k_proj"), ("layers.0", "layers.2"), ("w", "x"))))
    tensors[new if new != old else f"{old}.again"] = tensors[old].clone()


def _reshape(rng: Random, tensors: Tensors) -> None:
    name = rng.choice(sorted(tensors))
    ways: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda t: t.T if t.dim() == 2 else t[None],
        lambda t: t[:-1],
        lambda t: torch.cat([t, t[:1]]),
        lambda t: t.flatten(),
        lambda t: t[:0],
        lambda t: t.sum(),
        lambda t: t[None],
    )
    tensors[name] = rng.choice(ways)(tensors[name])


def _retype(rng: Random, tensors: Tensors) -> None:
    kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.bool, torch.uint8)
    kind = rng.choice(kinds)
    for name in rng.sample(sorted(tensors), rng.choice((1, len(tensors)))):
        tensors[name] = tensors[name].to(kind)


def _revalue(rng: Random, tensors: Tensors) -> None:
    value = rng.choice((0.0, 1e8, 1e30, -1e-30, float("nan"), float("inf")))
    for name in rng.sample(sorted(tensors), rng.choice((1, len(tensors)))):
        tensors[name] = torch.full_like(tensors[name], value)


def _another_setting(rng: Random, config: dict[str, Any]) -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"r": 4}, {"r": 0}, {"r": -1}, {"r": "3"}, {"r": 10**9}, {"r": None}, {"lora_alpha": 11},
        {"lora_alpha": 0}, {"lora_alpha": None}, {"lora_alpha": 2.5}, {"use_rslora": True},
        {"target_modules": None}, {"target_modules": "all-linear"}, {"target_modules": []},
        {"target_modules": ["q_proj"]}, {"target_modules": ".*_proj"}, {"target_modules": "("},
        {"exclude_modules": ["q_proj"]}, {"exclude_modules": ".*1.*"},
        {"layers_to_transform": [0]}, {"layers_to_transform": 1}, {"layers_pattern": "layers"},
        {"layers_to_transform": [1], "layers_pattern": ["layers"]}, {"fan_in_fan_out": True},
        {"rank_pattern": {"q_proj": 1}}, {"alpha_pattern": {"q_proj": 7}}, {"bias": "all"},
        {"alpha_pattern": {".*layers.0.*": 2, "v_proj": 3}}, {"bias": "some"}, {"use_dora": True},
        {"modules_to_save": ["norm"]}, {"task_type": "SEQ_CLS"}, {"inference_mode": False},
        {"peft_type": "IA3"}, {"peft_type": "lora"}, {"peft_type": None}, {"peft_type": "NEWEST"},
        {"lora_dropout": 0.9}, {"init_lora_weights": "gaussian"}, {"init_lora_weights": "pissa"},
        {"init_lora_weights": "nonsense"}, {"something_new": True}, {"peft_version": "99.0"},
        {"base_model_name_or_path": None}, {"auto_mapping": {"a": "b"}}, {"revision": "x"},
    )  # fmt: skip
    config.update(rng.choice(changes))


def _drop_setting(rng: Random, config: dict[str, Any]) -> None:
    for key in rng.sample(sorted(config), rng.randint(1, 4)):
        del config[key]


def _rename_setting(rng: Random, config: dict[str, Any]) -> None:
    for key in rng.sample(sorted(config), 2):
        config[key.upper() if rng.random() < 0.5 else f"{key}_"] = config.pop(key)


def _other_tool(rng: Random, folder: Path) -> None:
    contents: tuple[Any, ...] = (
        {"fine_tune_type": "lora", "lora_parameters": {"rank": 3, "scale": 10.0}, "num_layers": 2},
        {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 4, "task_type": "CAUSAL_LM"},
        {"peft_type": "XLORA", "hidden_size": 32}, {"r": 3, "lora_alpha": 5}, {}, [], "lora", 3,
        {"alpha": 5, "rank": 3, "target_modules": "q,v"}, {"architectures": ["A"], "heads": {}},
        {"_component_": "torchtune.models.lora_llama3", "lora_rank": 3, "peft_type": "LORA"},
    )  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(rng.choice(contents)))


def _double_setting(rng: Random, folder: Path) -> None:
    text = (folder / CONFIG).read_text().rstrip().removesuffix("}")
    key, value = rng.choice((("r", 4), ("lora_alpha", 9), ("use_dora", "true"), ("bias", '"all"')))
    (folder / CONFIG).write_text(f'{text}, "{key}": {value}}}')


CHANGES: dict[str, Change] = {
    "bytes of the weights flipped": _flip(WEIGHTS),
    "bytes of their header flipped": _flip_header,
    "bytes of the config flipped": _flip(CONFIG),
    "weights cut off, or longer": _cut,
    "tensors dropped": _tensors(_drop),
    "a module dropped": _tensors(_drop_module),
    "a tensor renamed": _tensors(_rename),
    "a tensor doubled": _tensors(_double),
    "a tensor of another shape": _tensors(_reshape),
    "tensors of another type": _tensors(_retype),
    "other numbers": _tensors(_revalue),
    "another setting": _config(_another_setting),
    "settings dropped": _config(_drop_setting),
    "settings renamed": _config(_rename_setting),
    "a setting doubled": _double_setting,
    "a config of another tool": _other_tool,
}


@dataclass(frozen=True)
class Outcome:
    """What became of one folder.

    Attributes:
        kind: What was damaged.
        change: How.
        ours: What we said of it: the error, or empty if it opened.
        theirs: Why PEFT does not take all of it as it is, or empty.
        difference: Largest difference of two logits by the size of the largest, where both opened.
        seconds: Ours.
        unchanged: Whether every byte of the base is what it was.
        is_right: Whether it is what it should be.
    """

    kind: str
    change: str
    ours: str
    theirs: str
    difference: float
    seconds: float
    unchanged: bool
    is_right: bool


def make_folders(
    model: Path, root: Path, count: int = COUNT, seed: int = 0
) -> list[tuple[str, str, Path]]:
    """Damaged folders: what was damaged, how, and where it lies."""
    whole = {kind: root / f"whole-{n}" for n, kind in enumerate(KINDS)}
    for kind, folder in whole.items():
        make(kind, model, folder)
    made = []
    for n in range(count):
        rng = Random(f"{seed} {n}")
        # Plain LoRAs, which are most of what there is, half of the time.
        kind = rng.choice(KINDS[:4]) if rng.random() < 0.5 else rng.choice(KINDS)
        change = list(CHANGES)[n % len(CHANGES)]
        folder = Path(shutil.copytree(whole[kind], root / f"damaged-{n}"))
        CHANGES[change](rng, folder)
        made.append((kind, change, folder))
    return made


def judge(base: Base, plain: Any, kind: str, change: str, folder: Path) -> Outcome:
    """Open one folder here and by PEFT.

    Args:
        base: Ours; the same for all.
        plain: The same model as transformers loads it; copied for PEFT.
        kind: What was damaged.
        change: How.
        folder: Where it lies.
    """
    theirs, expected = _by_peft(plain, folder)
    before, began, said, finetune = fingerprint(base), time.perf_counter(), "", None
    try:
        finetune = load_finetune(folder, base)
    except DiffspeakError as error:
        said = str(error)
    seconds = time.perf_counter() - began
    difference = 0.0
    if finetune is not None and expected is not None:
        found = logits(base, finetune)
        difference = ((found - expected).abs().max() / expected.abs().max().clamp_min(1)).item()
    unchanged = fingerprint(base) == before
    if finetune is None:
        right = bool(theirs) and "\n" not in said and len(said) < 1000
    else:
        # Numbers that are not finite are PEFT's numbers too.
        right = theirs == INFINITE if isnan(difference) else not theirs and difference < 1e-4
    right &= unchanged and seconds < SECONDS
    return Outcome(kind, change, said, theirs, difference, seconds, unchanged, right)


@torch.no_grad()
def _by_peft(plain: Any, folder: Path) -> tuple[str, Tensor | None]:
    """Why PEFT does not take all of a folder as it is, or empty; and its logits if it opens it."""
    ignored: list[str] = []
    missing: list[str] = []
    load = peft.peft_model.set_peft_model_state_dict

    def watched(*args: Any, **options: Any) -> Any:
        result = load(*args, **options)
        ignored.extend(result.unexpected_keys)
        missing.extend(key for key in result.missing_keys if ".default" in key)
        return result

    found = []
    try:
        with (
            warnings.catch_warnings(),
            mock.patch.object(peft.peft_model, "set_peft_model_state_dict", watched),
        ):
            warnings.simplefilter("ignore")
            for seed in (0, 1):
                if found and not missing:
                    break
                torch.manual_seed(seed)
                model = PeftModel.from_pretrained(copy.deepcopy(plain), str(folder)).eval()
                found.append(model(IDS).logits)
    except BaseException as error:
        return f"refuses: {type(error).__name__}", None
    if ignored:
        return f"ignores {ignored[0]}", found[0]
    if not found[0].isfinite().all():
        return INFINITE, found[0]
    if not torch.equal(found[0], found[-1]):
        return "fills in random numbers", found[0]
    return "", found[0]


@torch.no_grad()
def logits(base: Base, finetune: Finetune, ids: Tensor = IDS) -> Tensor:
    """Of a base with a finetune on it."""
    attachment = attach_to(base.model)
    try:
        with put_on(base, attachment, [finetune]):
            found: Tensor = base.model(ids).logits
    finally:
        attachment.detach()
    return found


def fingerprint(base: Base) -> str:
    """Over every byte of a base's parameters and buffers, and their names."""
    digest = hashlib.sha256()
    named = [*base.model.named_parameters(remove_duplicate=False), *base.model.named_buffers()]
    for name, tensor in named:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def judge_all(model: Path, root: Path, count: int = COUNT) -> list[Outcome]:
    """Make the folders and open all of them on one base."""
    from transformers import AutoModelForCausalLM

    base = load_base(model, dtype="float32", device="cpu")
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    return [judge(base, plain, *each) for each in make_folders(model, root, count)]


def write_page(page: Path) -> None:
    """Open all, and write the table."""
    from diffspeak.io.files import write_json, write_text
    from diffspeak.scoring import Row, table_lines
    from tests.families import build_family

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        found = judge_all(build_family("qwen3", root / "qwen3"), root)
    opened = [one for one in found if not one.ours]
    largest = max(one.difference for one in opened if not isnan(one.difference))
    right, same = (sum(map(attrgetter(name), found)) for name in ("is_right", "unchanged"))
    slowest = max(one.seconds for one in found)
    rows = [
        Row("folders that come out right", right, COUNT, None, COUNT),
        Row("of them opened", len(opened), COUNT),
        Row("largest difference from PEFT's logits", largest, len(opened), None, 1e-4, True),
        Row("folders after which the base is unchanged", same, COUNT, None, COUNT),
        Row("the slowest", slowest, COUNT, None, SECONDS, True, "s"),
    ]
    counts = Counter((one.change, not one.ours, one.is_right) for one in found)
    by_change = [
        f"| {change} | {counts[change, True, True] + counts[change, True, False]} | "
        f"{counts[change, False, True] + counts[change, False, False]} | "
        f"{counts[change, True, False] + counts[change, False, False]} |"
        for change in CHANGES
    ]
    lines = [
        "# Damaged adapters: what becomes of them",
        "",
        "Written by `python -m tests.finetunes.mutations`: adapter folders damaged from a seed,",
        "opened in one process on one base. Right is: the logits that PEFT gives for the same",
        "folder, or an error of one line where PEFT refuses it, ignores a tensor of it, fills it",
        "up with random numbers, or gives numbers that are not finite. Differences are taken in",
        "float32, by the size of the largest logit where that is above 1.",
        "",
        *table_lines(rows),
        "",
        "| damage | opened | refused | not right |",
        "|---|---|---|---|",
        *by_change,
        "",
    ]
    write_text(page, "\n".join(lines))
    write_json(page.with_suffix(".json"), {"rows": [{**vars(r), "met": r.met} for r in rows]})


if __name__ == "__main__":
    write_page(Path("docs/results/mutations.md"))
