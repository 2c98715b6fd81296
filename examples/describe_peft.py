"""What was a PEFT adapter taught? A DIT adapter tells.

python examples/describe_peft.py my-lora runs/adapter Qwen/Qwen3-4B
"""

import sys

import diffspeak


def main(finetune: str, adapter: str, base: str) -> str:
    """Print what the adapter says, and how much of it is due to the finetune."""
    loaded = diffspeak.load_base(base)
    trained = diffspeak.load_adapter(adapter)
    changed = diffspeak.load_finetune(finetune, loaded)
    for note in changed.notes:
        print("note:", note)
    with diffspeak.Interpreter(loaded, trained) as interpreter:
        (told,) = interpreter.describe(changed)
    print(f"{told.question} {told.text}")
    print(f"log-probability {told.mean_logprob:.2f} a token, {told.lift:+.2f} by the finetune")
    return told.text


if __name__ == "__main__":
    main(*sys.argv[1:])
