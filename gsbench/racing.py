"""Times any functions in pairs, in turn."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gsbench.meters.seconds import CONFIDENCE, Pairs, paired_ratio
from gsbench.values import shown

if TYPE_CHECKING:
    import pandas as pd

LEAST_PAIRS, MOST_PAIRS = 9, 1000


def race(calls: Mapping[str, Callable[[], Any]], seconds: float = 5.0, quiet: bool = False) -> pd.DataFrame:
    """Times functions without arguments, each in pairs with the first one, in turn: A B, B A, A B, …

    calls     name → function; the first one is the baseline
    seconds   about how long each of the others is raced with it; 9 pairs at least, 1,000 at most
    quiet     whether the table is returned only, not printed too

    Returns a table with a row for each function: `median_ms` of a call; `times_as_fast` as the baseline, which is the
    median over the pairs, with its 99 % bootstrap interval `low`, `high`; and the number of `pairs`. If the process
    uses a CUDA device by PyTorch, each call ends with a wait for it. Raises ValueError for fewer than two functions.
    """
    if len(calls) < 2 or not all(map(callable, calls.values())):
        raise ValueError(f"a race needs two functions or more, by name, got {shown(dict(calls))}")
    if not seconds > 0:
        raise ValueError(f"seconds must be a number > 0, got {shown(seconds)}")
    baseline, *others = calls
    rows, of_baseline = [], []
    for name in others:
        pairs = Pairs(_waited(calls[baseline]), _waited(calls[name]))
        pairs()  # to warm up
        for taken in (pairs.baseline_seconds, pairs.candidate_seconds):
            taken.clear()
        end = time.perf_counter() + seconds
        while len(pairs.baseline_seconds) < LEAST_PAIRS or (
            time.perf_counter() < end and len(pairs.baseline_seconds) < MOST_PAIRS
        ):
            pairs()
        of_baseline += pairs.baseline_seconds
        ratio = paired_ratio(pairs.baseline_seconds, pairs.candidate_seconds)
        rows.append([name, 1000 * statistics.median(pairs.candidate_seconds), ratio.median, ratio.low, ratio.high,
                     ratio.pairs])  # fmt: skip
    import pandas as pd

    first = [baseline, 1000 * statistics.median(of_baseline), 1.0, None, None, None]
    table = pd.DataFrame(
        [first, *rows], columns=["name", "median_ms", "times_as_fast", "low", "high", "pairs"]
    ).astype({"low": float, "high": float, "pairs": "Int64"})
    if not quiet:
        print(_written(table, baseline))
    return table


def _waited(call: Callable[[], Any]) -> Callable[[], None]:
    """The call, and then the wait for PyTorch's CUDA device if this process uses one."""

    def waited() -> None:
        call()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.synchronize()

    return waited


def _written(table: pd.DataFrame, baseline: str) -> str:
    from tabulate import tabulate

    rows = [
        [
            row.name,
            f"{row.median_ms:.3g} ms",
            "baseline" if row.name == baseline else f"{row.times_as_fast:.3g} × [{row.low:.3g}, {row.high:.3g}]",
        ]
        for row in table.itertuples(index=False, name="Row")
    ]
    head = ["", "time of a call", f"times as fast as {baseline}"]
    return f"{tabulate(rows, head, tablefmt='simple')}\nin pairs, in turn; intervals: {CONFIDENCE:.0%}"


__all__ = ["race"]
