"""How the things that ship with diffspeak were made; not part of the installed package."""
