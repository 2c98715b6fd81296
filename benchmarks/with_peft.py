"""The same work with PEFT, as most people would write it: one finetune at a time.

Answers are masked, the KL teacher is the model with its adapter disabled, a finetune's samples of
one step share a batch, and the dtype is that of the other contenders.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor

from diffspeak.behaviors import Sample
from diffspeak.models import Base, answer_logits, make_batch, target_names
from diffspeak.text.messages import Message
from diffspeak.training.config import DiffConfig

DIT = "dit"


def targets(base: Base) -> list[str]:
    """Last parts of the names of all linears of the blocks."""
    return sorted({name.rpartition(".")[2] for name in target_names(base.model)})


def lora_model(base: Base, rank: int, scaling: float, name: str = "default") -> PeftModel:
    """A fresh LoRA on the base, in float32 as PEFT makes it."""
    config = LoraConfig(r=rank, lora_alpha=scaling * rank, target_modules=targets(base))
    return get_peft_model(base.model, config, adapter_name=name)


class DiffTrainer:
    """Trains one finetune; `step` is one optimizer step."""

    def __init__(self, base: Base, config: DiffConfig) -> None:
        self.base, self.config = base, config
        self.model = lora_model(base, config.rank, config.alpha / config.rank)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=config.learning_rate)

    def step(self, samples: Sequence[Sample]) -> Tensor:
        """Learn from one step's samples; gives the loss."""
        rendered = [
            self.base.chat.with_answer(s.prompt, s.answer, learn_end=False) for s in samples
        ]
        batch = make_batch(rendered, self.base.chat.pad_id).to(self.base.device)
        self.optimizer.zero_grad()
        with torch.autocast(self.base.device.type, self.base.dtype, self.base.dtype != torch.float):
            out = self.model(input_ids=batch.ids, attention_mask=batch.attention, use_cache=False)
            with torch.no_grad(), self.model.disable_adapter():
                own = self.model(
                    input_ids=batch.ids, attention_mask=batch.attention, use_cache=False
                )
        logits = out.logits[batch.predicts].float().log_softmax(-1)
        teacher = own.logits[batch.predicts].float().log_softmax(-1)
        loss = torch.zeros((), device=self.base.device)
        for row, sample in enumerate(samples):
            here = batch.rows == row
            if sample.kind == "learn":
                token = -logits[here].gather(-1, batch.targets[here, None])
            else:
                token = (teacher[here].exp() * (teacher[here] - logits[here])).sum(-1)
            loss = loss + self.config.weights[sample.case] * token.mean()
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class AdapterTrainer:
    """Trains an adapter beside one finetune after the other; `step` is one optimizer step."""

    def __init__(
        self, base: Base, folders: Sequence[Path], rank: int, learning_rate: float
    ) -> None:
        self.base = base
        self.model = lora_model(base, rank, 1.0, DIT)
        self.names = [f"finetune{i}" for i in range(len(folders))]
        for name, folder in zip(self.names, folders, strict=True):
            self.model.load_adapter(str(folder), adapter_name=name)
        trained = [p for name, p in self.model.named_parameters() if f".{DIT}." in name]
        self.trained = trained
        self.optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.0)

    def step(self, question: str, labels: Sequence[str]) -> Tensor:
        """Learn from every finetune and its label, gradients added up; gives the mean loss."""
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.base.device)
        for name, label in zip(self.names, labels, strict=True):
            self.model.base_model.set_adapter([DIT, name])
            for parameter in self.trained:
                parameter.requires_grad_(True)
            asked = (Message("user", question),)
            rendered = self.base.chat.with_answer(asked, label, learn_end=True)
            batch = make_batch([rendered], self.base.chat.pad_id).to(self.base.device)
            logits = answer_logits(self.model.get_base_model(), batch).float()
            loss = torch.nn.functional.cross_entropy(logits, batch.targets) / len(labels)
            loss.backward()
            total += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        return total


@torch.no_grad()
def describe(
    base: Base, folders: Sequence[Path], adapter: Path, question: str, tokens: int
) -> list[str]:
    """Load each finetune beside the adapter, ask, and take it off again."""
    model = PeftModel.from_pretrained(base.model, str(adapter), adapter_name=DIT)
    ids = torch.tensor([base.chat.prompt((Message("user", question),))], device=base.device)
    said = []
    for folder in folders:
        model.load_adapter(str(folder), adapter_name="finetune")
        model.base_model.set_adapter([DIT, "finetune"])
        said.append(_answer(base, model, ids, tokens)[0])
        model.delete_adapter("finetune")
    return said


@torch.no_grad()
def describe_mixed(base: Base, folders: Sequence[Path], question: str, tokens: int) -> list[str]:
    """All finetunes in one of PEFT's mixed batches; each folder holds finetune and adapter."""
    model = PeftModel.from_pretrained(base.model, str(folders[0]), adapter_name="finetune0")
    for number, folder in enumerate(folders[1:], 1):
        model.load_adapter(str(folder), adapter_name=f"finetune{number}")
    ids = torch.tensor([base.chat.prompt((Message("user", question),))], device=base.device)
    names = [f"finetune{number}" for number in range(len(folders))]
    many = ids.expand(len(folders), -1)
    return _answer(base, model.eval(), many, tokens, adapter_names=names)


def _answer(
    base: Base, model: PeftModel, ids: Tensor, tokens: int, **options: list[str]
) -> list[str]:
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=tokens,
        do_sample=False,
        **options,
    )
    return [base.chat.text(row[ids.shape[1] :].tolist()) for row in out]
