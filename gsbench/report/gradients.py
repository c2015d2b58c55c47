"""The records of group "gradient", prepared for figures and tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gsbench.meters.gradient_intervals import CONFIDENCE, unseen_share
from gsbench.meters.gradient_quality import PARTS as NAMES
from gsbench.records import text
from gsbench.records.frame import measured

# The variables with respect to which gradients are taken.
PARTS = dict(zip(NAMES, ("logits of q(y|a,x)", "other parameters of φ", "parameters of θ"), strict=True))
KEY = ["subject", "state", "series", "n_classes", "estimator"]  # fields that identify a point
ENDS = ("", "_low", "_high")
ROUNDING = 1e-4  # relative bias that float32 rounding may cause in an estimator without draws of y: shown as 0
UNSEEN = 1e-14  # relative variance that rounding may cause if all draws are equal
FLAT, PEAKED = 0.8, 0.5  # q is flat from a perplexity of 0.8 K on, and peaked up to 0.5 K


def gradient_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with status "ok", with `state` in words: `initial parameters` or `after 200 steps`. Added columns:
    `subject`, the model, and the data if there are several; `milliseconds` of the bound; `elsewhere`, whether the exact
    sum in the comparison is of another bound than q's; and `draws_y`: an estimator that draws no y has no noise.
    """
    rows = measured(frame, "gradient", "state")
    subjects = rows["model"].map(text.model_name)
    if rows["dataset"].nunique() > 1:
        subjects += " on " + rows["dataset"].map(text.plain)
    return rows.assign(
        subject=subjects,
        state=_state_names(rows),
        milliseconds=1e3 * rows["bound_seconds"],
        elsewhere=rows["own_bound"] == 1,
        draws_y=rows["draws_y"] != 0,
    )


def _state_names(rows: pd.DataFrame) -> pd.Series:
    """`initial parameters`, `after 200 steps`; `… with sum-and-sample` if several estimators were used for training."""
    trainers = rows["training_estimator"].where((rows["state"] != "initial") & (rows["training_estimator"] != ""))
    several = trainers.nunique() > 1
    names = []
    for state, steps, trainer in zip(rows["state"], rows["training_steps"], trainers, strict=True):
        name = "initial parameters" if state == "initial" else state
        name = f"after {steps:,.0f} steps" if state == "trained" and not pd.isna(steps) else name
        names.append(f"{name} with {trainer}" if several and not pd.isna(trainer) else name)
    return pd.Series(names, index=rows.index, dtype=object)


def of_part(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    """The points of a part, one for each value of KEY, all relative to ‖g*‖. Several seeds give their medians.

    T is the estimate of the squared bias. T counts as 0 if no y is drawn and T is as small as rounding. A high end is
    nan if the draws do not bound it; if no two draws differed, they bound nothing, even if an older record has an end.

    Columns: `bias` √T, 0 if T's interval reaches to 0 or below, and its ends `bias_low`, `bias_high`; `variance` and
    its ends; `total_variance`; `cosine`; `error` √(max(T, 0) + variance), 0 if rounding makes the radicand negative;
    `milliseconds`, `elsewhere`, `draws_y`; `draws`, their number; `open_ended`, whether both high ends are unbounded.
    """
    rows = rows.dropna(subset=[f"{part}_squared_bias"])
    figures = ["variance", "variance_low", "variance_high", "total_variance", "cosine"]
    of_draws = rows["draws_y"].astype(bool)
    squares = {f"squared{end}": rows[f"{part}_squared_bias{end}"].astype(float) for end in ENDS}
    squares = {name: ends.where(of_draws, ends.fillna(squares["squared"])) for name, ends in squares.items()}
    rows = rows.assign(**squares, **{figure: rows[f"{part}_{figure}"].astype(float) for figure in figures})
    unseen = of_draws & (rows["variance"] <= UNSEEN)
    rows.loc[unseen, ["variance", "variance_low", "squared_low"]] = 0.0
    rows.loc[unseen, ["variance_high", "squared_high"]] = np.nan
    kept = [*squares, *figures, "milliseconds", "elsewhere", "exact_sum", "draws_y", "draws", "open_ended"]
    rows["draws"] = rows["gradient_draws"]
    rows["open_ended"] = of_draws & rows["variance_high"].isna() & rows["variance_low"].notna()
    numbers = rows.astype({"elsewhere": float, "draws_y": float, "draws": float, "open_ended": float})
    points = numbers.groupby(KEY, as_index=False, sort=True)[kept].median()
    points["open_ended"] = points["open_ended"] > 0
    points.loc[points["open_ended"], ["variance_high", "squared_high"]] = np.nan  # in medians over seeds too
    rounding = (points["draws_y"] == 0) & (points["squared"] <= ROUNDING**2)
    points = points.assign(**{name: points[name].mask(rounding, 0.0).clip(lower=0) for name in squares})
    unbiased = points["squared_low"] == 0
    roots = {f"bias{end}": np.sqrt(points[f"squared{end}"]) for end in ENDS}
    roots |= {name: roots[name].mask(unbiased, 0.0) for name in ("bias", "bias_low")}
    roots["error"] = np.sqrt((points["squared"] + points["variance"]).clip(lower=0))
    return points.assign(**roots).drop(columns=[*squares])


def states_of(rows: pd.DataFrame) -> list[str]:
    """The states, ordered by their steps of training."""
    steps = rows.groupby("state")["training_steps"].min().fillna(np.inf)  # unknown: such states come last
    return sorted(steps.index, key=lambda state: (state != "initial parameters", steps[state], state))


def perplexity(rows: pd.DataFrame) -> str:
    """`9.91`, or `3.10–4.20` if the rows differ; "" if it is unknown."""
    found = rows["q_perplexity"].dropna()
    ends = [text.three_digits(end) for end in (found.min(), found.max())] if len(found) else []
    return "–".join(dict.fromkeys(ends))


def state_title(rows: pd.DataFrame, subject: str, state: str) -> str:
    """`ADGM, after 200 steps: q peaked`, and below it the perplexity of q at the smallest and the largest K. The shape
    of q is named if q has it at every K.
    """
    own = rows[(rows["subject"] == subject) & (rows["state"] == state)]
    share = own["q_perplexity"] / own["n_classes"]
    shape = ": q flat" if share.min() >= FLAT else ": q peaked" if share.max() <= PEAKED else ""
    head = f"{subject}, {state}{shape}"
    ks = sorted(set(own["n_classes"][own["q_perplexity"].notna()]))
    ends = [f"{perplexity(own[own['n_classes'] == k])} of {k:,.0f}" for k in dict.fromkeys([*ks[:1], *ks[-1:]])]
    return f"{head}\nperplexity of q: {' … '.join(ends)}" if ends else head


def compared(rows: pd.DataFrame) -> str:
    """A sentence that names estimators compared with the exact sum of their own bound; "" if there are none."""
    names = sorted(set(rows["estimator"][rows["elsewhere"] > 0]))
    if not names:
        return ""
    own = "is compared with the exact sum of its" if len(names) == 1 else "are compared with the exact sums of their"
    return f"{text.listed(names)} {own} own bound, not of q's."


def repetitions(rows: pd.DataFrame) -> str:
    """`100 repetitions in 20 blocks`, as far as the records tell."""
    drawn = rows[rows["gradient_draws"] > 1]
    counts = {name: text.in_order(text.values(drawn, f"gradient_{name}")) for name in ("draws", "blocks")}
    if not counts["draws"]:
        return "one repetition"
    blocks = f" in {text.listed(counts['blocks'])} blocks" if counts["blocks"] else ""
    return f"{text.listed(counts['draws'])} repetitions{blocks}"


def intervals(rows: pd.DataFrame) -> str:
    """The kind of the intervals; for a level of 99 %, also their coverage in simulations."""
    simulated = text.values(rows, "confidence") == [0.99]
    nominal = " (nominal: in simulations they covered 95 % or more)" if simulated else ""
    return f"{text.interval_name(rows)} intervals{nominal}"


def of_total(rows: pd.DataFrame) -> str:
    """The basis of the total variance: `from 20 repetitions, without an interval`."""
    counts = text.in_order(text.values(rows, "total_draws"))
    return f"from {text.listed(counts)} repetitions, without an interval" if counts else "without an interval"


def medians(rows: pd.DataFrame) -> str:
    """A sentence if points are medians over seeds; else ""."""
    return "Several seeds: medians." if (rows.groupby(KEY)["seed"].nunique() > 1).any() else ""


def open_ends(rows: pd.DataFrame, shown: str = "there is no bar above the point") -> str:
    """Sentences on points whose draws hardly differed; "" if there are none. The points of the logits decide.

    If all draws have the same gradient with respect to the logits, so they do with respect to φ and θ.
    """
    points = of_part(rows, "logits")
    found = points[points["open_ended"]]
    if found.empty:
        return ""
    levels = text.values(rows, "confidence") or [CONFIDENCE]
    n = int(found["draws"].max())
    sentences = []
    if len(none := found[found["variance"] == 0]):
        share = text.percent(unseen_share(n, max(levels)))
        sentences.append(
            f"No two of {n} draws of {_named_points(none)} differed: noise in fewer than {share} of the draws may "
            "have been missed, however large it is."
        )
    if len(few := found[found["variance"] > 0]):
        sentences.append(
            f"Of {_named_points(few)} too few draws differed for an upper end of bias and variance: {shown}."
        )
    return " ".join(sentences)


def _named_points(points: pd.DataFrame) -> str:
    """`reinmax (K = 10 and 20) and straight-through (K = 10)`."""
    own = points.groupby("estimator", sort=True)["n_classes"]
    return text.listed(f"{name} (K = {text.listed(text.in_order(ks.unique()))})" for name, ks in own)
