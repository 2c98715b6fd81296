#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.24.0 and torch 2.13.0.
#
# An adapter that was saved with save_embedding_layers=True holds the embedding and the head under
# their plain names. One would guess that loading it and calling unload() gives the base back, as
# the adapter is "removed".
#
# Seen: PeftModel.from_pretrained copies those tensors into the base's own parameters, and unload()
# leaves them there. Every adapter that is loaded onto the same model afterwards runs on an
# embedding that belongs to the first one. Whoever tries many adapters on one model in memory has
# to check the base's own tensors after each.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 peft==0.21.2
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4)
torch.manual_seed(0)
model = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_key_value_heads=2, **sizes))
model.save_pretrained("base")

# The adapter's owner trained the embedding along.
trained = LlamaForCausalLM.from_pretrained("base")
trained = get_peft_model(trained, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
with torch.no_grad():
    trained.get_input_embeddings().weight.add_(0.5)
trained.save_pretrained("adapter", save_embedding_layers=True)

base = LlamaForCausalLM.from_pretrained("base")
before = base.get_input_embeddings().weight.detach().clone()
unloaded = PeftModel.from_pretrained(base, "adapter").unload()
moved = (unloaded.get_input_embeddings().weight - before).abs().max().item()
print(f"after unload() the base's embedding is off by {moved:.3g}")
assert abs(moved - 0.5) < 1e-5, "unload() gives the base back now"
PYTHON
