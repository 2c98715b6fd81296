"""A tiny base for the tests of diff training; each test leaves it as it was."""
