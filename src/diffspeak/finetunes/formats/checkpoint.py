"""Full checkpoints: what differs from the base, tensor by tensor.

Where files have the base's layout they are read one tensor at a time; otherwise transformers loads
the checkpoint.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM

from diffspeak.errors import CorruptFileError, MismatchError, UsageError
from diffspeak.finetunes.finetune import Finetune
from diffspeak.finetunes.formats.rounding import Difference, MergedLoraDetector
from diffspeak.finetunes.formats.source import Format, SingleSource
from diffspeak.finetunes.matching import base_names, fitted
from diffspeak.finetunes.tensors import fault_of
from diffspeak.io.files import read_json
from diffspeak.lora import Diff, from_dense
from diffspeak.models import Base, base_folder_of, plain_shapes, plain_tensors

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"

TensorReader = Callable[[str], Tensor]


class CheckpointSource(SingleSource):
    """A full checkpoint, used whole or by its best change of rank `low_rank`."""

    low_rank: int | None = None

    def read(self, key: str, base: Base) -> Finetune:
        """Compare it with the base."""
        del key
        if self.low_rank is None:
            return read_checkpoint(self.path, base, self.name)
        return read_low_rank(self.path, base, self.name, self.low_rank)


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a model."""
    return (folder / "config.json").is_file()


class CheckpointFiles:
    """The tensors of a folder's safetensors, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        """Read which file holds what.

        Raises:
            UsageError: There are none.
            CorruptFileError: A file is broken, or the index names one outside of the folder.
        """
        self.folder = folder
        self._files: dict[str, Any] = {}
        for path in self._paths():
            try:
                file = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise CorruptFileError(
                    f"{path} cannot be read ({error}); fetch it again"
                ) from error
            twice = self._files.keys() & file.keys()
            if twice:
                raise CorruptFileError(
                    f"{path} holds {min(twice)}, and so does another file of {folder}: leave only "
                    "the model's own files there"
                )
            self._files.update(dict.fromkeys(file.keys(), file))

    @property
    def names(self) -> list[str]:
        """Of all tensors."""
        return list(self._files)

    def read(self, name: str) -> Tensor:
        """One tensor."""
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor

    def _paths(self) -> list[Path]:
        single, index = self.folder / SINGLE, self.folder / INDEX
        # The order in which transformers looks for them.
        if single.is_file():
            return [single]
        if not index.is_file():
            paths = sorted(self.folder.glob("*.safetensors"))
            if not paths:
                raise UsageError(
                    f"{self.folder} holds no safetensors; save the model with them: pickled "
                    "weights could run code and are not opened"
                )
            return paths
        content = read_json(index)
        shards = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(shards, dict) or not all(isinstance(s, str) for s in shards.values()):
            raise CorruptFileError(f"{index} has no weight_map; fetch it again")
        for shard in set(shards.values()):
            if Path(shard).name != shard:
                raise CorruptFileError(
                    f"{index} names {shard!r}, which is outside of its folder: do not use it"
                )
        return [self.folder / shard for shard in sorted(set(shards.values()))]


def differences(folder: Path, base: Base) -> Iterator[Difference]:
    """Every tensor in which a checkpoint differs from the base, by the base's names.

    Raises:
        MismatchError: It is of another architecture or vocabulary, or lacks tensors.
        CorruptFileError: A tensor holds numbers that are not finite.
        UsageError: The base is quantized.
    """
    if base.fingerprint.linears is None:
        raise UsageError(
            f"{folder} cannot be compared with a quantized base: load {base.name} in bfloat16"
        )
    _check_stored_plainly(folder)
    own = plain_tensors(base.model)
    files = CheckpointFiles(folder)
    read: TensorReader = files.read
    try:
        names = _names(files, base, own)
        _check_buffers(folder, {n: read(n) for n in files.names if n not in names}, base)
    except MismatchError:
        loaded, buffers = _through_transformers(folder)
        _check_buffers(folder, buffers, base)
        names = base_names(loaded, own, str(folder), base.name)
        read = loaded.__getitem__
    places = {name: place for place, name in names.items()}
    _check_complete(folder, set(places), own, base)
    read_own = _own_reader(base, own)
    for tied in _tied(own):
        # A name that the file lacks is tied to one that it has.
        given = [name for name in tied if name in places]
        theirs = {name: fitted(folder, name, read(places[name]), base) for name in given}
        mine = read_own(tied[0])
        for name, tensor in theirs.items():
            _check(folder, name, tensor, own[name], base)
        if any(not torch.equal(mine.to(tensor.dtype), tensor) for tensor in theirs.values()):
            for name in tied:
                yield Difference(name, mine, theirs.get(name, theirs[given[0]]))


def read_checkpoint(folder: Path, base: Base, name: str) -> Finetune:
    """A checkpoint whole: the parameters that differ from the base, used in place of the base's.

    Raises:
        Errors as of `differences`.
    """
    parameters, seen = {}, MergedLoraDetector(plain_shapes(base.model))
    for difference in differences(folder, base):
        parameters[difference.name] = difference.theirs
        seen.add(difference)
    notes = tuple(seen.notes()) if parameters else (f"it does not differ from {base.name}",)
    return Finetune(name, parameters=parameters, notes=notes)


def read_low_rank(folder: Path, base: Base, name: str, rank: int) -> Finetune:
    """The best change of a rank of each linear, with the share of the difference that it holds.

    What is no linear of the blocks is left out; the notes say how much that was.

    Raises:
        Errors as of `differences`.
    """
    shapes = plain_shapes(base.model)
    diff: Diff = {}
    captured: dict[str, float] = {}
    kept = total = 0.0
    left_out: dict[str, float] = {}
    for difference in differences(folder, base):
        change = difference.change
        energy = change.double().square().sum().item()
        total += energy
        module = difference.name.removesuffix(".weight")
        if module not in shapes:
            left_out[difference.name] = energy
            continue
        dense = change.T if shapes[module].transposed else change
        diff[module], held = from_dense(dense, rank)
        captured[module] = held.item()
        kept += energy * held.item()
    if not diff:
        raise UsageError(f"{folder} changes no linear of {base.name}: there is nothing of low rank")
    notes = [f"rank {rank} holds {kept / total:.2%} of the difference's energy"]
    if left_out:
        worst = max(left_out, key=left_out.__getitem__)
        share = sum(left_out.values()) / total
        notes.append(
            f"{len(left_out)} tensors that are no linears of the blocks are left out, {worst} the "
            f"most: {share:.2%} of the energy"
        )
    return Finetune(name, diff, notes=tuple(notes), captured=captured)


def _check_stored_plainly(folder: Path) -> None:
    """Refuse a checkpoint whose numbers are codes of a quantization."""
    config = read_json(folder / "config.json")
    said = config.get("quantization_config") if isinstance(config, dict) else None
    if said:
        how = said.get("quant_method") if isinstance(said, dict) else None
        raise UsageError(
            f"{folder} is quantized{f' ({how})' if how else ''}, so that its weights cannot be "
            "compared with the base's: load it with transformers, call model.dequantize(), save "
            "that, and give it"
        )


def _names(files: CheckpointFiles, base: Base, own: Mapping[str, Tensor]) -> dict[str, str]:
    """The base's names of a file's parameters; what it computes itself (buffers) aside."""
    buffers = {name for name, _ in base.model.named_buffers()}
    known = {*own, *buffers}
    names = base_names(files.names, known, str(files.folder), base.name)
    return {place: name for place, name in names.items() if name in own}


def _tied(own: Mapping[str, Tensor]) -> list[list[str]]:
    """The base's names, those that share memory together."""
    groups: dict[int, list[str]] = {}
    for name, tensor in own.items():
        groups.setdefault(tensor.data_ptr(), []).append(name)
    return list(groups.values())


def _check_buffers(folder: Path, theirs: Mapping[str, Tensor], base: Base) -> None:
    """Refuse a checkpoint that changed what is no parameter: there is no place for it here."""
    own = dict(base.model.named_buffers())
    for name, tensor in theirs.items():
        mine = own.get(name)
        if mine is None or not (mine.is_floating_point() and tensor.is_floating_point()):
            continue
        if mine.shape != tensor.shape or not torch.equal(mine.cpu().to(tensor.dtype), tensor):
            raise UsageError(
                f"{folder} changes {name}, which is no parameter but a buffer of {base.name}: "
                "such a finetune cannot be opened"
            )


def _through_transformers(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Load a checkpoint whose tensors transformers renames or fuses."""
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        # What it raises for a broken checkpoint is not one kind of error.
        reason = " ".join(str(error).split())[:300]
        raise UsageError(f"{folder} is no model that transformers can load: {reason}") from error
    model, found = loaded
    for key in ("missing_keys", "unexpected_keys"):
        if found[key]:
            raise MismatchError(
                f"{folder}: {min(found[key])} is among its {key.replace('_', ' ')}: its tensors "
                "are not those of its config; save the whole model again"
            )
    return plain_tensors(model), dict(model.named_buffers())


def _check_complete(folder: Path, found: set[str], own: Mapping[str, Tensor], base: Base) -> None:
    there = {own[name].data_ptr() for name in found}
    missing = sorted(name for name, tensor in own.items() if tensor.data_ptr() not in there)
    if missing:
        raise MismatchError(
            f"{folder} lacks {missing[0]} ({len(missing)} of {base.name}'s parameters in all): "
            "save the whole model there, or give the base it was made from"
        )


def _check(folder: Path, name: str, tensor: Tensor, own: Tensor, base: Base) -> None:
    if tensor.shape != own.shape:
        raise MismatchError(
            f"{folder}: {name} is {tuple(tensor.shape)} there and {tuple(own.shape)} in "
            f"{base.name}: another size; give the base it was made from"
        )
    fault = fault_of(tensor)
    if fault:
        raise CorruptFileError(f"{folder}: {name} {fault}")


def _own_reader(base: Base, own: Mapping[str, Tensor]) -> TensorReader:
    """Reads the base's tensors: from its files, if they have its layout, as they were saved."""
    folder = base_folder_of(base)
    if folder is None:
        return lambda name: own[name].cpu()
    files = CheckpointFiles(folder)
    try:
        names = _names(files, base, own)
    except MismatchError:
        return lambda name: own[name].cpu()
    # Of tied parameters a file holds one.
    places = {own[name].data_ptr(): place for place, name in names.items()}
    return lambda name: files.read(places[own[name].data_ptr()])


FORMAT = Format("checkpoint", is_checkpoint, CheckpointSource)
