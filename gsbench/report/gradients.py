"""The records of group "gradient" as their figures and tables take them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gsbench.report import text
from gsbench.report.frame import GRADIENT_PARTS, is_sum, measured

PARTS = dict(
    zip(GRADIENT_PARTS, ("logits of q(y|a,x)", "other parameters of φ", "parameters of θ"), strict=True)
)  # what a gradient is by
STATES = ("initial", "trained")
KEY = ["subject", "state", "series", "n_classes", "estimator"]  # what has a point of its own
ENDS = ("", "_low", "_high")
NEGLIGIBLE = 1e-4  # a relative bias, or error, below which float32 only rounds: 0 for a reader
FLAT, PEAKED = 0.8, 0.5  # of K: from which perplexity on q is called flat, and up to which peaked


def gradient_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that ended well, with `subject`: the model, and the data where there are several; `milliseconds` of the
    bound; and `elsewhere`, which are held against the exact sum of another bound than q's.
    """
    rows = measured(frame, "gradient", "state")
    several = rows["dataset"].nunique() > 1
    named = zip(rows["model"].map(text.model_name), rows["dataset"].map(text.plain), strict=True)
    subjects = [f"{model} on {dataset}" if several else model for model, dataset in named]
    return rows.assign(
        subject=pd.Series(subjects, index=rows.index, dtype=object),
        milliseconds=1e3 * rows["bound_seconds"],
        elsewhere=rows["baseline"].notna() & ~is_sum(rows["baseline"].fillna("").astype(str)),
    )


def of_part(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    """The rows of a part, a row for each of KEY, all relative to ‖g*‖; of several (seeds) the median.

    Columns: `bias` √T and its ends `bias_low`, `bias_high`, for T the squared bias, 0 where T's interval contains 0 or
    all there is is rounding; `variance` and its ends, `total_variance`, `cosine`; `error` √(max(T, 0) + variance);
    `milliseconds`, `elsewhere`.
    """
    rows = rows.dropna(subset=[f"{part}_squared_bias"])
    figures = ["variance", "variance_low", "variance_high", "total_variance", "cosine"]
    rows = rows.assign(**{figure: rows[f"{part}_{figure}"] for figure in figures})
    value = rows[f"{part}_squared_bias"]
    low, high = (rows[f"{part}_squared_bias{end}"].fillna(value) for end in ENDS[1:])
    zero = (low <= 0) | (value <= NEGLIGIBLE**2)
    roots = {
        "bias": _root(value).mask(zero, 0.0),
        "bias_low": _root(low).mask(zero, 0.0),
        "bias_high": _root(high),
        "error": _root(value.clip(lower=0) + rows["variance"]),
    }
    rows = rows.assign(**roots)
    kept = [*roots, *figures, "milliseconds", "elsewhere"]
    return rows.astype({"elsewhere": float}).groupby(KEY, as_index=False, sort=True)[kept].median()


def _root(squares: pd.Series) -> pd.Series:
    """√ of what is above 0, and 0 of what is negligible."""
    roots = np.sqrt(squares.clip(lower=0))
    return roots.mask(roots < NEGLIGIBLE, 0.0)


def states_of(rows: pd.DataFrame) -> list[str]:
    """The states that there are, the known ones first."""
    found = text.values(rows, "state")
    return [*(state for state in STATES if state in found), *sorted(set(found) - set(STATES))]


def state_name(state: str, rows: pd.DataFrame) -> str:
    """`initial parameters`, `after 200 steps`."""
    if state == "initial":
        return "initial parameters"
    steps = text.in_order(text.values(rows[rows["state"] == state], "training_steps"))
    return f"after {text.listed(f'{n:,.0f}' for n in steps)} steps" if state == "trained" and steps else state


def perplexity(rows: pd.DataFrame) -> str:
    """`9.91`, or `3.10–4.20` where the rows differ; "" where no row says."""
    found = rows["q_perplexity"].dropna()
    ends = [text.three_digits(end) for end in (found.min(), found.max())] if len(found) else []
    return "–".join(dict.fromkeys(ends))


def shape_of_q(rows: pd.DataFrame) -> str:
    """`q flat` or `q peaked` where it is so at every K; else ""."""
    share = (rows["q_perplexity"] / rows["n_classes"]).dropna()
    if len(share) and share.min() >= FLAT:
        return "q flat"
    return "q peaked" if len(share) and share.max() <= PEAKED else ""


def state_title(rows: pd.DataFrame, subject: str, state: str) -> str:
    """`ADGM, after 200 steps: q peaked`, and below it the perplexity of q at the ends of the K measured."""
    own = rows[(rows["subject"] == subject) & (rows["state"] == state)]
    shape = shape_of_q(own)
    head = f"{subject}, {state_name(state, own)}{f': {shape}' if shape else ''}"
    ks = sorted(set(own["n_classes"][own["q_perplexity"].notna()]))
    ends = [f"{perplexity(own[own['n_classes'] == k])} of {k:,.0f}" for k in dict.fromkeys([*ks[:1], *ks[-1:]])]
    return f"{head}\nperplexity of q: {' … '.join(ends)}" if ends else head


def held_against(rows: pd.DataFrame) -> str:
    """A sentence on those that are held against the exact sum of their own bound; "" where there are none."""
    names = sorted(set(rows["estimator"][rows["elsewhere"] > 0]))
    if not names:
        return ""
    own = "is held against the exact sum of its" if len(names) == 1 else "are held against the exact sums of their"
    return f"{text.listed(names)} {own} own bound, not of q's."


def repetitions(rows: pd.DataFrame) -> str:
    """`100 repetitions in 20 blocks`, as far as the records say."""
    drawn = rows[rows["gradient_draws"] > 1]
    counts = {name: text.in_order(text.values(drawn, f"gradient_{name}")) for name in ("draws", "blocks")}
    if not counts["draws"]:
        return "one repetition"
    blocks = f" in {text.listed(counts['blocks'])} blocks" if counts["blocks"] else ""
    return f"{text.listed(counts['draws'])} repetitions{blocks}"
