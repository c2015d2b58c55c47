"""`gsbench compare`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gsbench.cli.values import figure_path, path
from gsbench.shown import visible
from gsbench.values import Range, SettingError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from gsbench.report.blocks import Columns, Table

OF_EACH = ("estimator", "K", "run", "base", "new", "ratio", "verdict")  # stand in each row, even if all are the same
MOST_MISSING = 10  # printed lines about figures that only one run has
UNTOLD = 3  # exit code if a condition cannot be judged

EXAMPLES = """examples:
  gsbench compare before.jsonl after.jsonl
  gsbench compare main.json branch.json --fail-if 'step_seconds>1.2x' --fail-if 'peak_bytes>1.1x'
  gsbench compare laptop.jsonl server.jsonl gpu.jsonl --markdown
  gsbench compare old/ new/ --fail-if 'validation_accuracy<90%' --require-all --json

conditions: METRIC>LIMIT or METRIC<LIMIT. A limit needs a unit. The unit x limits the ratio new/base, as in 1.2x. Other
units limit the new figure itself: s, ms, us, min or h for times; B, kB, MB, GB, TB, KiB, MiB, GiB or TiB for memory; /s
for steps_per_second; % for accuracies and fraction_of_peak; "new" for numbers without a unit, as in 'speedup<3new' or
'validation_accuracy<0.9new'.
A condition holds if the whole interval is beyond the limit, so that noise alone does not fail a build. Without an
interval, or with --strict, it holds if the figure itself is beyond the limit.
metrics: step_seconds, bound_seconds, steps_per_second, train_seconds, speedup, fraction_of_peak, peak_bytes,
process_peak_bytes, validation_accuracy, test_accuracy

intervals are computed from the records, which keep no raw samples: a time's from its quartiles and number of rounds, an
accuracy's from its number of examples (Wilson), and several seeds' or sessions' from their spread (Student's t). The
interval of a speed-up is stored in its record. A single reading has no interval, and so it is never slower or faster.
Sessions are not paired, so the interval of a time includes the spread between sessions: 10 %, as on a quiet machine, or
the sessions' own spread if it is larger. Folders with several sessions on each side narrow it. Speed-ups are measured
in pairs within each session; on a noisy machine, compare them and not the times.
If other programs took cores that a case needed in one of the runs (field other_cores of its record), the verdict on its
times, and on accuracies after a time budget, is "cannot tell". No condition holds for such a case without --strict.

exit codes: 0 no condition holds; 1 a condition holds (or, with --require-all, a case is in one run only); 2 unusable
arguments or files; 3 no condition holds, but for some case it cannot be told, because other programs computed
"""


def add_compare(commands: Any) -> None:
    """`gsbench compare BASE NEW [MORE …]`."""
    parser = commands.add_parser(
        "compare",
        help="compare two or more runs, with an exit code for CI",
        description="Compares machines, commits or backends. For each case and metric that both runs have, it prints "
        "the base, the new figure, their ratio with its interval, and whether the new one is slower or faster.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add("base", type=path, metavar="BASE", help="a benchmark file, or a folder of them, as gsbench report takes it")
    add("new", type=path, nargs="+", metavar="NEW", help="one or more runs to compare with BASE")
    add(
        "--fail-if", action="append", default=[], metavar="CONDITION", dest="conditions",
        help="exit with 1 if it holds, such as 'step_seconds>1.2x'; the limit needs a unit (repeatable; see below)",
    )  # fmt: skip
    add("--strict", action="store_true", help="conditions apply to the figure, not to its interval")
    add("--require-all", action="store_true", help="exit with 1 if a case or a metric is in one run only")
    add(
        "--confidence", type=confidence, default=0.99, metavar="LEVEL",
        help="of the intervals (default: %(default)g; a table has many rows)",
    )  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    form.add_argument("--json", action="store_true", help="print JSON instead of the table")
    add("--figure", type=figure_path, metavar="FILE", help="also draw the ratios by case to this .png or .svg file")
    parser.set_defaults(run=run_compare)


def confidence(text: str) -> float:
    try:
        return float(Range(above=0, below=1).read(text))
    except ValueError:
        got = f"got {shown(text)}"
        raise argparse.ArgumentTypeError(f"a confidence lies between 0 and 1, such as 0.95, {got}") from None


def run_compare(arguments: argparse.Namespace) -> int:
    from gsbench.cli.remarks import detail, failure, remark  # pandas and SciPy take a second: not for --help
    from gsbench.compare.conditions import parse_condition
    from gsbench.compare.table import compare
    from gsbench.files import check_place
    from gsbench.records.frame import make_frame
    from gsbench.records.reading import read_files

    try:
        conditions = [parse_condition(text) for text in arguments.conditions]
    except ValueError as error:
        raise SettingError("{conditions}", f": {error}") from error
    if arguments.figure:
        check_place(arguments.figure)
    paths = [arguments.base, *arguments.new]
    readings = [read_files([path]) for path in paths]
    for notice in (notice for reading in readings for notice in reading.notices):
        remark(notice)
    frames = [make_frame(reading.records) for reading in readings]
    found = compare(dict(zip(_keys(paths), frames, strict=True)), arguments.confidence)
    if found.table.empty:
        raise ValueError("the runs have no measured case in common" + "".join(f"\n  {m}" for m in found.missing[:10]))
    failed = {condition: condition.holds_in(found.table, found.runs, arguments.strict) for condition in conditions}
    untold = {condition: condition.untold_in(found.table, arguments.strict) for condition in conditions}
    if arguments.figure:
        _save_figure(found.table, arguments.figure)
    tell = failure if arguments.require_all else remark
    for i, line in enumerate(found.missing):
        (tell if i < MOST_MISSING else detail)(line)
    if len(found.missing) > MOST_MISSING:
        tell(f"and {len(found.missing) - MOST_MISSING} more in one run only; --verbose shows them")
    for condition, rows in failed.items():
        for line in _held(rows):
            failure(f"--fail-if {condition}: {line}")
    for condition, rows in untold.items():
        if len(rows):
            cases = int((found.table["metric"] == condition.metric).sum())
            failure(
                f"--fail-if {condition}: cannot tell for {len(rows)} of {cases} cases, because other programs took "
                "cores; measure again on a quiet machine, or take the speedup"
            )
    fails = any(len(rows) for rows in failed.values()) or (arguments.require_all and bool(found.missing))
    if arguments.json:
        print(_json(found.table, found.missing, failed, untold, fails))
    else:
        print(_table(found.table, arguments.markdown))
    return int(fails) or UNTOLD * any(len(rows) for rows in untold.values())


def _keys(paths: Sequence[Path]) -> list[str]:
    """The paths; one that is given again is numbered."""
    texts = [str(path) for path in paths]
    return [text if text not in texts[:i] else f"{text} #{i + 1}" for i, text in enumerate(texts)]


def _save_figure(table: pd.DataFrame, path: Path) -> None:
    from gsbench.cli.remarks import remark
    from gsbench.report.drawing.sheet import figure_settings, write_figure
    from gsbench.report.drawing.styles import make_look
    from gsbench.report.figures.regression import REGRESSION

    with figure_settings():
        plot = REGRESSION.draw_rows(table, make_look([], []))
        if plot is None:
            return remark("no figure: the runs have no time, memory, speed-up or accuracy in common")
        write_figure(plot.figure, path)
    remark(f"figure: {path}")


def _held(rows: pd.DataFrame) -> list[str]:
    from gsbench.compare.table import case_name

    return [
        f"{case_name(row)}: {row['metric']} {_figure(row['metric'], row['base'])} in {row['base_run']}, "
        f"{_figure(row['metric'], row['new'])} in {row['run']}: {_ratio(row)} ({row['interval_from']})"
        for row in rows.to_dict("records")
    ]


def _figure(metric: str, value: float) -> str:
    from gsbench.records import text

    if metric.endswith("_seconds"):
        return text.seconds(value)
    if metric.endswith("_bytes"):
        return text.size(value)
    return text.percent(value) if metric.endswith("_accuracy") else text.three_digits(value)


def _ratio(row: Any) -> str:
    from gsbench.records import text

    return f"{text.times(row['ratio'])}{text.interval(row['ratio_low'], row['ratio_high'])}"


def _table(table: pd.DataFrame, in_markdown: bool) -> str:
    from gsbench.records import text
    from gsbench.report.blocks import Table
    from gsbench.report.writers import markdown, terminal

    several = table["run"].nunique() > 1
    sides = {side: lambda row, side=side: _figure(row["metric"], row[side]) for side in ("base", "new")}
    columns = {
        **{name: text.cell(name) for name in ("group", "estimator", "model")},
        "K": text.cell("n_classes"),
        **{name: text.cell(name) for name in ("timed", "settings", "metric")},
        "run": lambda row: row["run"] if several else "",
        **sides,
        "ratio": _ratio,
        "interval from": text.cell("interval_from"),
        "verdict": text.cell("verdict"),
    }
    if in_markdown:
        written = markdown.written([Table.of(columns, table)])
    else:
        parts = [rows for _, rows in table.groupby(["group", "metric", "interval_from"], sort=False)]
        written = "\n\n".join(terminal.written(_of_metric(columns, rows)) for rows in parts)
    write = markdown.escaped if in_markdown else visible
    base, runs = write(table["base_run"].iloc[0]), write(", ".join(dict.fromkeys(table["run"])))
    return f"base: {base}\nnew: {runs}\n\n{written}"


def _of_metric(columns: Columns, rows: pd.DataFrame) -> Table:
    """The table of one metric. What all its rows share stands in its title, so that the rest fits a terminal."""
    from gsbench.report.blocks import Table

    found = Table.of(columns, rows)
    values = {header: [row[i] for row in found.rows] for i, header in enumerate(found.headers)}
    shared = {header: own[0] for header, own in values.items() if header not in OF_EACH and len({*own}) == 1}
    kept = [i for i, header in enumerate(found.headers) if header not in shared]
    group, metric, source = (shared.pop(name, "") for name in ("group", "metric", "interval from"))
    about = [metric, *(value for value in shared.values() if value != group)]
    title = f"{group}: {', '.join(about)}" + (f" (interval from {source})" if source else "")
    return dataclasses.replace(found.with_columns(kept), title=title)


def _json(
    table: pd.DataFrame,
    missing: Sequence[str],
    failed: dict[Any, pd.DataFrame],
    untold: dict[Any, pd.DataFrame],
    fails: bool,
) -> str:
    held, cannot_tell = ({str(c): _rows(rows) for c, rows in found.items()} for found in (failed, untold))
    answer = {"fails": bool(fails), "rows": _rows(table), "conditions": held, "cannot_tell": cannot_tell}
    answer["missing"] = list(missing)
    return json.dumps(answer, allow_nan=False, indent=1)  # in ASCII: a terminal gets no control character raw


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """JSON has no nan: what was not measured is null."""
    return [{key: _cell(value) for key, value in row.items()} for row in table.to_dict("records")]


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if hasattr(value, "item") else value
