"""`python -m gsbench`, and the command `gsbench`."""

import sys


def main() -> int:
    """The command as a process of its own. What takes long to import comes after Ctrl-C is provided for."""
    try:
        from gsbench import process

        process.begin()
        from gsbench.cli import main as command

        return process.run(command)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
