"""A tiny base for the tests of this room; each test leaves it as it was."""
