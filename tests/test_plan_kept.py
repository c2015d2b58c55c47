"""The planner on measured records: its predictions for class counts that were held out."""

import json
from pathlib import Path

import pandas as pd
import pytest

import gsbench
from gsbench.planner.curve import make_curve
from gsbench.planner.fit import UNKNOWN
from gsbench.planner.work import Shape

RECORDS = Path(__file__).parent.parent / "reports" / "plan" / "run.jsonl"
FIGURES = {"step": "step_seconds", "memory": "live_peak_bytes", "process": "process_peak_bytes"}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    """{(metric, estimator, K): predicted/measured} at K = 200 and 500, from the records of K ≤ 100."""
    frame = gsbench.load_results([RECORDS])
    shown = tmp_path_factory.mktemp("plan") / "shown.jsonl"
    lines = RECORDS.read_text().splitlines(keepends=True)
    shown.write_text("".join(line for line in lines if json.loads(line)["n_classes"] <= 100))
    assert gsbench.load_results([shown])["n_classes"].max() == 100
    found = gsbench.plan([shown], classes=[200, 500])
    ratios = {}
    for prediction in found.predictions:
        figure = FIGURES.get(prediction.metric)
        group = "memory" if figure and figure.endswith("bytes") else "step"
        rows = frame[
            (frame["group"] == group) & (frame["estimator"] == prediction.estimator)
            & (frame["n_classes"] == prediction.n_classes)
        ]  # fmt: skip
        if figure and len(rows):
            key = (prediction.metric, prediction.estimator, prediction.n_classes)
            ratios[key] = prediction.value / rows[figure].iloc[0]
    return ratios


def test_all_estimators_are_held_against_what_was_measured(held_out):
    assert len(held_out) == 3 * 4 * 2


def test_live_arrays_are_told_within_5_percent_and_a_process_within_10(held_out):
    for metric, within in (("memory", 0.05), ("process", 0.1)):
        ratios = {key: ratio for key, ratio in held_out.items() if key[0] == metric}
        assert ratios == pytest.approx(dict.fromkeys(ratios, 1.0), rel=within)


def test_a_step_is_told_within_20_percent(held_out):
    ratios = {key: ratio for key, ratio in held_out.items() if key[0] == "step"}
    assert ratios == pytest.approx(dict.fromkeys(ratios, 1.0), rel=0.2)


def test_two_class_counts_are_too_few_for_a_narrow_interval_beyond_them():
    """Several values at each class count do not help: they do not show how the time grows."""
    figures = {"n_classes": [10, 10, 20, 20], "value": [1.0, 1.01, 1.5, 1.515], "spread": 0.01, "shape": [Shape()] * 4}
    rows = pd.DataFrame({**figures, "metric": "step", "estimator": "marginalize"})
    curve = make_curve(rows, "step", "marginalize", Shape())
    assert curve is not None
    widths = {k: curve.predict(k).high / curve.predict(k).value - 1 for k in (20, 200)}
    assert widths[20] < 0.1
    assert widths[200] >= UNKNOWN
