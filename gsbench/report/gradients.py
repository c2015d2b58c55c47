"""The records of group "gradient" as their figures and tables take them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from gsbench.meters.gradient_intervals import CONFIDENCE, unseen_share
from gsbench.report import text
from gsbench.report.frame import measured
from gsbench.schema import GRADIENT_PARTS

PARTS = dict(
    zip(GRADIENT_PARTS, ("logits of q(y|a,x)", "other parameters of φ", "parameters of θ"), strict=True)
)  # what a gradient is by
KEY = ["subject", "state", "series", "n_classes", "estimator"]  # what has a point of its own
ENDS = ("", "_low", "_high")
ROUNDING = 1e-4  # a relative bias of what draws no y that float32 may make by itself: 0 for a reader
UNSEEN = 1e-14  # a relative variance that rounding may make by itself where all draws are alike
FLAT, PEAKED = 0.8, 0.5  # of K: from which perplexity on q is called flat, and up to which peaked


def gradient_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that ended well, `state` written out as `initial parameters` or `after 200 steps`, and with `subject`:
    the model, and the data where there are several; `milliseconds` of the bound; `elsewhere`, which are held against
    the exact sum of another bound than q's; and `draws_y`, without which there is no noise.
    """
    rows = measured(frame, "gradient", "state")
    several = rows["dataset"].nunique() > 1
    named = zip(rows["model"].map(text.model_name), rows["dataset"].map(text.plain), strict=True)
    subjects = [f"{model} on {dataset}" if several else model for model, dataset in named]
    return rows.assign(
        subject=pd.Series(subjects, index=rows.index, dtype=object),
        state=_state_names(rows),
        milliseconds=1e3 * rows["bound_seconds"],
        elsewhere=rows["own_bound"] == 1,
        draws_y=rows["draws_y"] != 0,
    )


def _state_names(rows: pd.DataFrame) -> pd.Series:
    """`initial parameters`, `after 200 steps`; where training was with several estimators, `… with sum-and-sample`."""
    trainers = rows["training_estimator"].where((rows["state"] != "initial") & (rows["training_estimator"] != ""))
    several = trainers.nunique() > 1
    names = []
    for state, steps, trainer in zip(rows["state"], rows["training_steps"], trainers, strict=True):
        name = "initial parameters" if state == "initial" else state
        name = f"after {steps:,.0f} steps" if state == "trained" and not pd.isna(steps) else name
        names.append(f"{name} with {trainer}" if several and not pd.isna(trainer) else name)
    return pd.Series(names, index=rows.index, dtype=object)


def of_part(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    """The rows of a part, a row for each of KEY, all relative to ‖g*‖; of several (seeds) the medians, of T too.

    A high end that the draws do not bound is nan. So it is where no two draws differed, whatever an older record says.

    Columns: `bias` √T and its ends `bias_low`, `bias_high`, for T the squared bias, 0 where T's interval reaches to 0
    or below, or where no y is drawn and all there is is rounding; `variance` and its ends, `total_variance`, `cosine`;
    `error` √(max(T, 0) + variance), 0 where rounding made that negative, T alone being 0 where it is rounding;
    `milliseconds`, `elsewhere`, `draws_y`; `draws`, how many there were; `open_ended`, whether the draws bound neither
    figure.
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
    points.loc[points["open_ended"], ["variance_high", "squared_high"]] = np.nan  # of several seeds too
    rounding = (points["draws_y"] == 0) & (points["squared"] <= ROUNDING**2)
    points = points.assign(**{name: points[name].mask(rounding, 0.0).clip(lower=0) for name in squares})
    unbiased = points["squared_low"] == 0
    roots = {f"bias{end}": np.sqrt(points[f"squared{end}"]) for end in ENDS}
    roots |= {name: roots[name].mask(unbiased, 0.0) for name in ("bias", "bias_low")}
    roots["error"] = np.sqrt((points["squared"] + points["variance"]).clip(lower=0))
    return points.assign(**roots).drop(columns=[*squares])


def states_of(rows: pd.DataFrame) -> list[str]:
    """The states that there are, by the steps of training."""
    steps = rows.groupby("state")["training_steps"].min()  # nan where unknown: these come last
    return sorted(steps.index, key=lambda state: (state != "initial parameters", *_last_if_nan(steps[state]), state))


def _last_if_nan(value: float) -> tuple[bool, float]:
    return (True, 0.0) if np.isnan(value) else (False, value)


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
    head = f"{subject}, {state}{f': {shape}' if shape else ''}"
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


def intervals(rows: pd.DataFrame) -> str:
    """What the intervals are, with what simulations found of those that are made for 99 %."""
    simulated = text.values(rows, "confidence") == [0.99]
    nominal = " (nominal: in simulations they covered 95 % or more)" if simulated else ""
    return f"{text.interval_name(rows)} intervals{nominal}"


def of_total(rows: pd.DataFrame) -> str:
    """What stands behind the total variance: `from 20 repetitions, without an interval`."""
    counts = text.in_order(text.values(rows, "total_draws"))
    return f"from {text.listed(counts)} repetitions, without an interval" if counts else "without an interval"


def medians(rows: pd.DataFrame) -> str:
    """A sentence where points are of several seeds; else ""."""
    return "Several seeds: medians." if (rows.groupby(KEY)["seed"].nunique() > 1).any() else ""


def open_ends(rows: pd.DataFrame, shown: str = "there is no bar above the point") -> str:
    """Sentences on the points of the logits whose draws hardly differed; "" where there are none.

    Where the gradient by the logits is the same in all draws, those by φ and θ are as well.
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
            f"No two of {n} draws of {_named_points(none)} differed: noise that fewer than {share} of the draws have "
            "may have been missed, whatever its size."
        )
    if len(few := found[found["variance"] > 0]):
        sentences.append(
            f"Of {_named_points(few)} too few draws differed to say how large bias and variance are at most: {shown}."
        )
    return " ".join(sentences)


def _named_points(points: pd.DataFrame) -> str:
    """`reinmax (K = 10 and 20) and straight-through (K = 10)`."""
    own = points.groupby("estimator", sort=True)["n_classes"]
    return text.listed(f"{name} (K = {text.listed(text.in_order(ks.unique()))})" for name, ks in own)
