"""The quality of the gradients in numbers: a table for each part of the parameters."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import names_with
from gsbench.records.order import by_estimator, in_order
from gsbench.report import gradients as told
from gsbench.report.blocks import Code, Columns, Fold, Paragraph, Section, Table, Text
from gsbench.report.gradients import KEY, PARTS, UNSEEN, gradient_rows, of_part, states_of

SHORT = ("bias", "variance", "time")  # the figures in a terminal
RELATIVE_ERRORS = (
    "Relative bias: ‖E g − g*‖ / ‖g*‖; ", Code("0 within noise"), " where the interval of its square reaches to 0 or "
    "below, with the largest bias that the interval leaves open. Relative variance: tr cov(g) / ‖g*‖², of the draws of "
    "y; ", Code("none seen"), " where no two draws differed, ", Code("or more"), " where too few draws differed for an "
    "upper end.",
)  # fmt: skip


def gradient_section(frame: pd.DataFrame) -> Section | None:
    """The tables, each folded away, and a note on their columns; None if no gradient was measured."""
    rows = gradient_rows(frame)
    tables = [table for part in PARTS for table in _table(rows, part)]
    if not tables:
        return None
    return Section("The gradients in numbers", [Paragraph(_note(rows)), *tables], "gradients")


def short_gradients(frame: pd.DataFrame) -> list[Table]:
    """Bias and variance with respect to the logits, in a terminal: a line for each K and estimator."""
    rows = gradient_rows(frame)
    points = of_part(rows, "logits")
    if points.empty:
        return []
    states, by = states_of(rows), ["subject", "series", "n_classes", "estimator"]
    cells = []
    for (subject, series, k, name), own in in_order(points, by).groupby(by, sort=False):
        of_state = {row["state"]: row for row in own.to_dict("records")}
        cells.append([series, subject, k, name, *(cell for state in states for cell in _short(of_state.get(state)))])
    figures = [("" if i else f"{state}:", name) for state in states for i, name in enumerate(SHORT)]
    title = "Gradient with respect to the logits of q(y|a,x), relative to the exact one; time: of the bound, both ways"
    return [Table(["", "", ("", "K"), "", *figures], cells, title, keys=4, together=len(SHORT)).used()]


def _short(row: Any) -> list[str]:
    """The `SHORT` figures of one state."""
    if row is None:
        return [text.NOT_MEASURED] * len(SHORT)
    bias = bias_text(row["bias"], math.nan, row["bias_high"], row["draws_y"] > 0)
    bias = bias.replace("within noise (up to ", "(to ").replace("within noise (no", "(no")
    return [bias, variance_text(row["variance"], row["draws"]), text.measure(row["milliseconds"] / 1e3, text.seconds)]


def _note(rows: pd.DataFrame) -> Text:
    """The meaning of the columns."""
    before = [
        "The gradient of the loss, compared with the exact sum's at the same parameters, minibatch, a and ε_z: "
        f"{told.repetitions(rows)} that differ in the draws of y alone.",
        "All figures are for one minibatch of training and, except the total variance, one draw of a and ε_z. Another "
        "--seed gives other ones.",
        _training(rows),
    ]
    after = [
        f"Total variance: with new draws of a and ε_z too, {told.of_total(rows)}. For an exact sum it comes from a and "
        "ε_z alone.",
        "Cosine: mean cosine between one gradient and the exact one.",
        f"In brackets: {told.intervals(rows)}; one or more in a hundred such intervals miss the true value by chance.",
        "Time: the unlabelled bound, forward and backward, each estimator by itself; the figure of the "
        "speed-up has times in pairs.",
        "Calls of f: per example and draw of a.",
        "Peak memory: of a full training step at the initial parameters.",
        told.compared(rows),
        told.open_ends(rows, "there is no upper end"),
        told.medians(rows),
    ]
    first, last = (" ".join(filter(None, sentences)) for sentences in (before, after))
    return [f"{first} ", *RELATIVE_ERRORS, f" {last}"]


def _training(rows: pd.DataFrame) -> str:
    """The estimators that trained the parameters. All estimators are measured at these parameters, `sparsemax` too."""
    trainers = by_estimator(name for name in text.values(rows, "training_estimator") if name)
    if not trainers:
        return ""
    names = names_with(rows, "own_bound")
    own = f", also for {text.listed(names)}, which has another bound" if names else ""
    return f"Trained parameters come from training with {text.listed(trainers)}{own}."


def _table(rows: pd.DataFrame, part: str) -> list[Fold]:
    """The table of a part. Only the logits' table has the costs, because they are the same for all parts."""
    points = of_part(rows, part)
    if points.empty:
        return []
    if part == "logits":
        costs = ["q_perplexity", "calls_of_f", "bound_seconds", "peak_bytes"]
        points = points.join(rows.groupby(KEY)[costs].median(), KEY)
    points = in_order(points, ["subject", "series", "state", "n_classes", "estimator"], state=states_of(rows))
    table = Table.of({**HEAD, **(COSTS if part == "logits" else {}), **ERRORS}, points)
    lines = f"{len(points)} line{'' if len(points) == 1 else 's'}"
    return [Fold(f"By the {PARTS[part]}: {lines}", [table])]


def bias_text(bias: float, low: float, high: float, draws_y: bool) -> str:
    """`0.123 [0.110, 0.135]`; `0` if the estimator draws no y. If the interval contains 0: `0 within noise (up to
    0.0123)`, or `(no upper end)` if it has none. If the interval lies below 0: `0 within noise`.
    """
    if bias > 0:
        return f"{text.three_digits(bias)}{text.interval(low, high)}"
    if not draws_y:
        return "0"
    if pd.isna(high):
        return "0 within noise (no upper end)"
    return f"0 within noise (up to {text.three_digits(high)})" if high > 0 else "0 within noise"


def variance_text(variance: float, draws: float, low: float = math.nan, high: float = math.nan) -> str:
    """`0.123 [0.110, 0.135]`, or `0.123 [0.110 or more]` without an upper end. A variance of 0 is `none seen in 100
    draws`, or `0` for one draw.
    """
    if draws > 1 and variance <= UNSEEN:
        return f"none seen in {draws:.0f} draws"
    if variance == 0:
        return "0"
    if pd.isna(high) and not pd.isna(low):
        return f"{text.three_digits(variance)} [{text.three_digits(low)} or more]"
    return f"{text.measure(variance, text.three_digits)}{text.interval(low, high)}"


HEAD: Columns = {
    "": text.cell("series"), "model": text.cell("subject"), "parameters": text.cell("state"),
    "K": text.cell("n_classes"), "estimator": text.cell("estimator"),
}  # fmt: skip
COSTS: Columns = {
    "perplexity of q": text.cell("q_perplexity", text.three_digits, text.NOT_MEASURED),
    "calls of f": text.cell(
        "calls_of_f", lambda n: text.plain(n) if n == round(n) else text.three_digits(n), text.NOT_MEASURED
    ),
    "time": text.cell("bound_seconds", text.seconds, text.NOT_MEASURED),
    "peak memory": text.cell("peak_bytes", text.size, text.NOT_MEASURED),
}
ERRORS: Columns = {
    "relative bias": lambda row: bias_text(row["bias"], row["bias_low"], row["bias_high"], row["draws_y"] > 0),
    "relative variance": lambda row: variance_text(
        row["variance"], row["draws"], row["variance_low"], row["variance_high"]
    ),
    "total variance": text.cell("total_variance", text.three_digits, text.NOT_MEASURED),
    "cosine": text.cell("cosine", lambda cosine: f"{cosine:.3f}", text.NOT_MEASURED),
}
