"""Finetunes for inspect-ai: a provider that any task can talk to, and tasks with our judges.

inspect-ai finds them by the entry point `inspect_ai`, which names `registry`. The one room beside
`evaluate.llm` that knows inspect-ai; imported by nothing.
"""
