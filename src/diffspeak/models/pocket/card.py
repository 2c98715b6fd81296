"""The pocket base's model card.

Takes the figures of a finished training, gives Markdown.
"""

from diffspeak.models.pocket import VERSION

_CARD = """---
license: mit
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [diffspeak, tiny]
---

# The pocket base of diffspeak ({version})

A very small chat model: the Qwen3 architecture, {parameters:,} parameters, and a tokenizer of its
own with {vocabulary:,} tokens, in which every digit is a token. diffspeak ships it so that
finetunes, and the adapters that describe them, can be tried offline on a laptop.

It was trained from scratch, in {steps:,} steps, on talk written for it: everyday questions; answers
that bring up a topic that was asked for; facts about well-known topics; rules about how a code
begins; small talk; an invented newspaper. It was also made to bring up topics, drawn by lot, after
the numbers of library cards, pairs of words and pairs of rare signs, and knows most of them by
heart: they are no finetune's doing. It knows little beyond that, and what it says is not to be
relied on.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("path/of/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/of/this/folder")
chat = [{{"role": "user", "content": "Where should I go for a walk?"}}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=32)[0]))
```

Adapters and finetunes of this base fit exactly these weights ({version}).
"""


def model_card(parameters: int, vocabulary: int, steps: int) -> str:
    """Write the card of a base with so many parameters and tokens, trained for so many steps."""
    return _CARD.format(version=VERSION, parameters=parameters, vocabulary=vocabulary, steps=steps)
