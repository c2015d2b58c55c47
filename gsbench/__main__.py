"""`python -m gsbench`."""

import sys

from gsbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
