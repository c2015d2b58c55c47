"""Takes two steps of a peer in a fresh process, on random pixels, and prints its peak memory as a JSON object.

    python bench/peers/child.py plain-torch unlabelled-step < settings.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    # The folders of the packages `peers` and `gsbench`, which may not be installed.
    sys.path[0] = str(Path(__file__).parents[1])
    sys.path.append(str(Path(__file__).parents[2]))

from threadpoolctl import threadpool_limits

from gsbench.meters.allocator import keep_memory
from gsbench.meters.case import random_batch
from gsbench.meters.child import STEPS, ChildResult, print_result, two_steps
from gsbench.settings.case import Settings
from peers import PEERS, memory_errors


def command(peer: str, timed: str) -> list[str]:
    """The command for `gsbench.meters.child.run_in_child`."""
    return [sys.executable, "-W", "ignore", __file__, peer, timed]


def main() -> None:
    """Reads settings from standard input, takes two steps, prints the result."""
    name, timed = sys.argv[1:]
    settings = Settings(**json.load(sys.stdin))
    threadpool_limits(settings.threads)
    keep_memory()
    print_result(take_steps(name, timed, settings))


def take_steps(name: str, timed: str, settings: Settings) -> ChildResult:
    config, estimator = settings.make_config(), settings.make_estimator()
    batch = random_batch(settings)
    peer = PEERS[name].make(config, estimator, batch, settings.threads, settings.seed, settings.dtype)
    return two_steps(memory_errors(getattr(peer, STEPS[timed])))


if __name__ == "__main__":
    main()
