#!/usr/bin/env bash
# transformers 5.24.0 with torch 2.13.0.
#
# save_pretrained(folder, state_dict=...) writes the tensors that it is given. One would guess that
# config.json names the dtype of what was written.
#
# Seen: config.json names the dtype of the model in memory, whatever the tensors are. A model that
# was loaded in float32 and whose merged weights are written in bfloat16 leaves a folder with
# bfloat16 tensors and "dtype": "float32", and from_pretrained without a dtype believes the config:
# the model takes twice its size in memory.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import json

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

sizes = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4)
model = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_key_value_heads=2, **sizes))
half = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
model.save_pretrained("merged", state_dict=half)
stored = {tensor.dtype for tensor in load_file("merged/model.safetensors").values()}
said = json.load(open("merged/config.json"))["dtype"]
loaded = AutoModelForCausalLM.from_pretrained("merged").dtype
print(f"stored {stored}, config.json says {said}, loaded as {loaded}")
assert stored == {torch.bfloat16} and said == "float32" and loaded == torch.float32, "it changed"
PYTHON
