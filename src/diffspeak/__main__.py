"""`python -m diffspeak` is the command line."""

import sys

from diffspeak.cli import main

if __name__ == "__main__":
    sys.exit(main())
