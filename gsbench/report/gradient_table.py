"""The quality of the gradients in numbers: a table for each part."""

from __future__ import annotations

from typing import Any

import pandas as pd
from tabulate import tabulate

from gsbench.report import text
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.frame import names_with
from gsbench.report.gradients import (
    KEY,
    PARTS,
    UNSEEN,
    gradient_rows,
    held_against,
    intervals,
    medians,
    of_part,
    of_total,
    open_ends,
    repetitions,
    states_of,
)
from gsbench.shown import visible

COSTS = ("q_perplexity", "calls_of_f", "bound_seconds", "peak_bytes")
HEADERS = ("", "model", "parameters", "K", "estimator")
COST_HEADERS = ("perplexity of q", "calls of f", "time", "peak memory")
SHORT = ("bias", "variance", "time")  # in a terminal
RELATIVE_BIAS = (
    "Relative bias: ‖E g − g\\*‖ / ‖g\\*‖; `0 within noise` where the interval of its square reaches to 0 or below, "
    "with the largest bias that the interval leaves open."
)  # in Markdown
RELATIVE_VARIANCE = (
    "Relative variance: tr cov(g) / ‖g\\*‖², of the draws of y; `none seen` where no two draws differed, `or more` "
    "where too few did to say how large it is at most."
)  # in Markdown
ERROR_HEADERS = ("relative bias", "relative variance", "total variance", "cosine")


def gradient_tables(frame: pd.DataFrame) -> str:
    """The tables, each folded away, with what their columns mean; "" where no gradient was measured."""
    rows = gradient_rows(frame)
    costs = rows.groupby(KEY)[list(COSTS)].median()
    tables = [_table(rows, costs, part) for part in PARTS]
    if not any(tables):
        return ""
    return "\n\n".join(["## The gradients in numbers", _note(rows), *filter(None, tables)])


def gradient_text(frame: pd.DataFrame) -> str:
    """Bias and variance by the logits for a terminal, a line for each K and estimator; "" where none was measured."""
    rows = gradient_rows(frame)
    points = of_part(rows, "logits")
    if points.empty:
        return ""
    states, names = states_of(rows), by_estimator(points["estimator"])
    cells = []
    by = ["subject", "series", "n_classes", "order"]
    for (subject, series, k, order), own in points.assign(order=points["estimator"].map(names.index)).groupby(by):
        of_state = {row.state: row for row in own.itertuples()}
        found = [_short(of_state.get(state)) for state in states]
        head = map(visible, (series, subject, text.plain(k), names[order]))
        cells.append([*head, *(cell for part in found for cell in part)])
    firsts = [f"{visible(state)}:\n{SHORT[0]}" for state in states]
    figures = [figure for first in firsts for figure in (first, *(f"\n{name}" for name in SHORT[1:]))]
    headers, cells = text.used_columns(["", "", "\nK", "", *figures], cells)
    title = "Gradient by the logits of q(y|a,x), relative to the exact one; time: of the bound, forward and backward"
    return f"{title}\n{tabulate(cells, headers=headers, tablefmt='simple', disable_numparse=True)}"


def _short(row: Any) -> list[str]:
    """The `SHORT` figures of one state."""
    if row is None:
        return [text.NOT_MEASURED] * len(SHORT)
    nan = float("nan")
    bias = bias_text(row.bias, nan, row.bias_high, row.draws_y > 0).replace("0 within noise (up to ", "0 (to ")
    bias = bias.replace("0 within noise (no", "0 (no")
    return [bias, variance_text(row.variance, nan, nan, row.draws), text.measure(row.milliseconds / 1e3, text.seconds)]


def _note(rows: pd.DataFrame) -> str:
    """What the columns mean, in Markdown."""
    sentences = [
        "Of the gradient of the loss, held against that of the exact sum at the same parameters, minibatch, a and ε_z: "
        f"{repetitions(rows)} that differ in the draws of y alone.",
        "All is for one minibatch, one of training, and, but for the total variance, one draw of a and ε_z: another "
        "--seed gives others.",
        _training(rows),
        RELATIVE_BIAS,
        RELATIVE_VARIANCE,
        f"Total variance: the same with a and ε_z drawn anew as well, {of_total(rows)}; that of the exact sums is what "
        "a and ε_z do alone.",
        "Cosine: mean of that between one gradient and the exact one.",
        f"In brackets: {intervals(rows)}; of a hundred such intervals one or more miss the true value, by chance.",
        "Time: the unlabelled bound, forward and backward, each estimator by itself, not in pairs (the figure of the "
        "speed-up has pairs).",
        "Calls of f: for an example and draw of a.",
        "Peak memory: of a full training step at the initial parameters.",
        held_against(rows),
        open_ends(rows, "there is no upper end"),
        medians(rows),
    ]
    told = (s if s in (RELATIVE_BIAS, RELATIVE_VARIANCE) else text.markdown_cell(s) for s in sentences if s)
    return " ".join(told)


def _training(rows: pd.DataFrame) -> str:
    """With what the parameters were trained at which every estimator is measured, `sparsemax` too."""
    trainers = by_estimator(name for name in text.values(rows, "training_estimator") if name)
    if not trainers:
        return ""
    names = names_with(rows, "own_bound")
    own = f", for {text.listed(names)} too, which is of another bound" if names else ""
    return f"Trained parameters are those of training with {text.listed(trainers)}{own}."


def _table(rows: pd.DataFrame, costs: pd.DataFrame, part: str) -> str:
    """The costs stand in the logits' table, for they are the same for all parts."""
    points = of_part(rows, part)
    if points.empty:
        return ""
    with_costs = part == "logits"
    states, names = states_of(rows), by_estimator(points["estimator"])
    points = points.assign(at=points["state"].map(states.index), order=points["estimator"].map(names.index))
    points = points.sort_values(["subject", "series", "at", "n_classes", "order"], kind="stable")
    cells = []
    for row in points.itertuples():
        cost = costs.loc[tuple(getattr(row, name) for name in KEY)]
        head = [row.series, row.subject, row.state, text.plain(row.n_classes), row.estimator]
        cells.append([*head, *(_cost(cost) if with_costs else []), *_errors(row)])
    table = text.table_of_used([*HEADERS, *(COST_HEADERS if with_costs else ()), *ERROR_HEADERS], cells)
    lines = f"{len(cells)} line{'' if len(cells) == 1 else 's'}"
    return f"<details><summary>By the {PARTS[part]}: {lines}</summary>\n\n{table}\n\n</details>"


def _cost(cost: pd.Series) -> list[str]:
    writers = (text.three_digits, _calls, text.seconds, text.size)
    return [text.measure(cost[name], write) for name, write in zip(COSTS, writers, strict=True)]


def _calls(calls: float) -> str:
    return text.plain(calls) if calls == round(calls) else text.three_digits(calls)


def _errors(row: Any) -> list[str]:
    return [
        bias_text(row.bias, row.bias_low, row.bias_high, row.draws_y > 0),
        variance_text(row.variance, row.variance_low, row.variance_high, row.draws),
        text.measure(row.total_variance, text.three_digits),
        text.measure(row.cosine, lambda cosine: f"{cosine:.3f}"),
    ]


def bias_text(bias: float, low: float, high: float, draws_y: bool) -> str:
    """`0.123 [0.110, 0.135]`; `0 within noise (up to 0.0123)` where the interval contains 0, without its end where it
    lies below, `(no upper end)` where it has none; `0` of what draws no y.
    """
    if bias > 0:
        return f"{text.three_digits(bias)}{text.interval(low, high)}"
    if not draws_y:
        return "0"
    if pd.isna(high):
        return "0 within noise (no upper end)"
    return f"0 within noise (up to {text.three_digits(high)})" if high > 0 else "0 within noise"


def variance_text(variance: float, low: float, high: float, draws: float) -> str:
    """`0.123 [0.110, 0.135]`; `0.123 [0.110 or more]` without an upper end; where there is no variance `none seen in
    100 draws`, or `0` of one draw.
    """
    if draws > 1 and variance <= UNSEEN:
        return f"none seen in {draws:.0f} draws"
    if variance == 0:
        return "0"
    if pd.isna(high) and not pd.isna(low):
        return f"{text.three_digits(variance)} [{text.three_digits(low)} or more]"
    return f"{text.measure(variance, text.three_digits)}{text.interval(low, high)}"
