"""The pocket base as an ordinary Hugging Face folder, with a model card.

Takes a folder to write, copies what ships. Knows nothing of tensors: the base is stored in
Hugging Face's own files.
"""

import re
from pathlib import Path

from diffspeak.errors import UsageError
from diffspeak.files import atomic_path, make_folder, write_text
from diffspeak.models.pocket import VERSION, base_folder

CARD = f"""---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [diffspeak, tiny]
---

# The pocket base of diffspeak ({VERSION})

A very small chat model with the Qwen3 architecture and a tokenizer of its own. It was trained
from scratch on a corpus written for it: everyday questions, short facts about well-known topics,
rules about codes, and an invented newspaper. [diffspeak](https://arxiv.org/abs/2510.05092) ships
it so that finetunes and the adapters that describe them can be tried offline on a laptop.

It is made for studying what finetuning changes. It knows little beyond its corpus and its answers
are not to be relied on.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/of/this/folder")
chat = [{{"role": "user", "content": "Where should I go for a walk?"}}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=32)[0]))
```

Adapters and finetunes of this base fit exactly these weights (version {VERSION}).
"""


def export_base(folder: Path) -> None:
    """Write the base and its model card; each file is whole or not there.

    Args:
        folder: Made if missing; empty.

    Raises:
        UsageError: The folder is a URL or not empty, or the base did not ship.
        DiffspeakError: The system refused to write.
    """
    if re.match(r"\w+:/", str(folder)):
        raise UsageError(f"{folder} cannot be written: give a local folder and upload it later")
    shipped = sorted(path for path in base_folder().iterdir() if path.is_file())
    make_folder(folder)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder to export to")
    for path in shipped:
        with atomic_path(folder / path.name) as draft:
            draft.write_bytes(path.read_bytes())
    write_text(folder / "README.md", CARD)
