"""How much of the machine's own matrix-product peak each case reaches."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import MultipleLocator, PercentFormatter

from gsbench.report import text
from gsbench.report.axes import class_axis, draw_by_classes
from gsbench.report.frame import measured
from gsbench.report.style import Look, Plot, make_sheet

PANELS = {"bound": "unlabelled bound", "step": "full training step"}


def roofline_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of group "roofline" that have a share, with `seconds`, the time of what each timed."""
    rows = measured(frame, "roofline", "fraction_of_peak", "timed")
    rows = rows[(rows["fraction_of_peak"] > 0) & rows["timed"].isin(PANELS)]
    return rows.assign(seconds=rows["bound_seconds"].where(rows["timed"] == "bound", rows["step_seconds"]))


def fraction_of_peak(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """The share of the peak against K: a row of panels for each model, a column for each thing timed."""
    rows = roofline_rows(frame)
    if rows.empty:
        return None
    timed = [what for what in PANELS if what in set(rows["timed"])]
    models = sorted(set(rows["model"]))
    title = "Share of the machine's own matrix-product peak"
    caption = (
        "The floating-point operations of the matrix products that must be done, over median time × peak; the peak is "
        f"that of the best matrix product{_products(rows)}, measured in turn with the case. "
        f"Bars: {text.interval_name(rows)} interval. {text.conditions(rows)}"
    )
    sheet = make_sheet(
        len(models), len(timed), title=title, handles=look.handles(rows["estimator"], rows["series"]), caption=caption,
        share={"sharey": True, "sharex": "col"},
    )  # fmt: skip
    ends = ("fraction_of_peak", "fraction_of_peak_low", "fraction_of_peak_high")
    for line, model in zip(sheet.axes, models, strict=True):
        line[0].set_ylabel("share of the peak")
        for ax, what in zip(line, timed, strict=True):
            own = rows[(rows["model"] == model) & (rows["timed"] == what)]
            ax.set_title(f"{text.model_name(model)}: {PANELS[what]}")
            draw_by_classes(ax, own, look, *ends)
            class_axis(ax, rows["n_classes"])
    for ax in sheet.axes[-1]:
        ax.set_xlabel("number of classes K")
    first = sheet.axes[0, 0]
    first.set_ylim(0, max(1.0, 1.05 * rows[list(ends)].max().max()))
    first.yaxis.set_major_locator(MultipleLocator(0.2))
    first.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    return Plot(title, caption, sheet.figure)


def _products(rows: pd.DataFrame) -> str:
    """` (1024x1024x1024 and 2048x2048x2048)`, or "" where they are many or the records do not say."""
    found = sorted(text.values(rows, "peak_product"))
    return f" ({text.listed(found)})" if 0 < len(found) <= 3 else ""
