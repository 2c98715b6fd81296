"""Strings in, numbers and truth values out. No torch, no transformers."""
