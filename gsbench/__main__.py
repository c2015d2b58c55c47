"""`python -m gsbench`, and the command `gsbench`."""

import sys


def main() -> int:
    """The command as a separate process. It handles Ctrl-C before it imports anything slow."""
    try:
        from gsbench import process

        process.begin()
        from gsbench.cli import main as command

        return process.run(command)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
