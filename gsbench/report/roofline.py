"""How much of the machine's own matrix-product peak each case reaches."""

from __future__ import annotations

import pandas as pd

from gsbench.records.frame import measured

PANELS = {"bound": "unlabelled bound", "step": "full training step"}


def roofline_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of group "roofline" with a share of the peak. `seconds` is added: the time of the bound or the step."""
    rows = measured(frame, "roofline", "fraction_of_peak", "timed")
    rows = rows[(rows["fraction_of_peak"] > 0) & rows["timed"].isin(PANELS)]
    return rows.assign(seconds=rows["bound_seconds"].where(rows["timed"] == "bound", rows["step_seconds"]))


