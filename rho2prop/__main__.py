"""``python -m rho2prop``: the same as the command ``rho2prop``."""

import sys

from rho2prop.cli import main

if __name__ == "__main__":
    sys.exit(main())
