"""Estimators on plain PyTorch tensors, and races of functions."""

import numpy as np
import pytest
from core_fixtures import BATCH

import gsbench
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.racing import race

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

IN_PARTS = {"marginalize-streamed", "sparsemax"}
K, H = 5, 3


def parts(seed=0):
    rng = np.random.default_rng(seed)
    W, v, logits = (torch.tensor(rng.normal(size=s), requires_grad=True) for s in ((K, H), (BATCH, H), (BATCH, K)))

    def f(y, rows):
        return (torch.tanh((W[y] if y.ndim == 1 else y @ W) + v[rows])).sum(1)

    return f, W, v, logits


def values_of_classes(f):
    rows = torch.arange(BATCH)
    return torch.stack([f(torch.full((BATCH,), k), rows) for k in range(K)], 1)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in IN_PARTS])
def test_an_estimator_has_the_value_and_gradients_of_the_sum_as_far_as_it_declares(name):
    f, W, _, logits = parts()
    exact = (torch.softmax(logits, 1) * values_of_classes(f)).sum(1)
    expected = torch.autograd.grad(exact.sum(), [W, logits])
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    draws, gradients = [], []
    rng = np.random.default_rng(0)
    made = parse_estimator(name)
    for _ in range(400 if made.draws_y else 1):
        value, found = gsbench.expectation(name, f, logits, rng)
        torch.testing.assert_close(found, entropy)
        gradients.append([g.numpy() for g in torch.autograd.grad(value.sum(), [W, logits])])
        draws.append(value.detach().numpy())
    if not made.draws_y:
        np.testing.assert_allclose(draws[0], exact.detach(), rtol=1e-10)
        for g, e in zip(gradients[0], expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-12)
        return
    mean, spread = np.mean(draws, axis=0), np.std(draws, axis=0) / np.sqrt(len(draws))
    if "value" not in made.biased:
        assert (abs(mean - exact.detach().numpy()) < 6 * spread + 1e-9).all()
    for found, exact in zip(zip(*gradients, strict=True), expected, strict=True):
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(len(found))
        assert np.abs(mean).max() > 0
        if not made.biased:
            assert (abs(mean - exact.numpy()) < 6 * spread + 1e-9).all()


def test_a_seed_gives_the_same_numbers_and_a_generator_goes_on():
    f, *_, logits = parts()
    one, again = (gsbench.expectation("gumbel-softmax", f, logits, 3).expectation for _ in range(2))
    assert torch.equal(one, again)
    rng = np.random.default_rng(3)
    first, second = (gsbench.expectation("gumbel-softmax", f, logits, rng).expectation for _ in range(2))
    assert torch.equal(first, one)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", [*sorted(IN_PARTS), "sum-and-sample(mass=0.9)"])
def test_sums_in_parts_are_refused(name):
    f, *_, logits = parts()
    with pytest.raises(ValueError, match="sums in parts need all tensors on which f depends"):
        gsbench.expectation(name, f, logits, 0)


def test_wrong_shapes_are_named():
    f, *_, logits = parts()
    with pytest.raises(ValueError, match=r"logits must be a tensor \[B, K\] with K >= 2, got Tensor \(5,\)"):
        gsbench.expectation("marginalize", f, logits[0])
    with pytest.raises(ValueError, match=r"f must return a value for each of its 4 rows, got \(\)"):
        gsbench.expectation("gumbel-softmax", lambda y, rows: f(y, rows).sum(), logits, 0)
    with pytest.raises(ValueError, match="got ndarray"):
        gsbench.expectation("marginalize", f, logits.detach().numpy())
    with pytest.raises(ValueError, match="gumbel-softmax draws y: give rng"):
        gsbench.expectation("gumbel-softmax", f, logits)


def test_the_callers_precision_of_products_stays():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        f, *_, logits = parts()
        gsbench.expectation("marginalize", f, logits)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_race_has_a_row_for_each_function_and_the_first_is_the_baseline(capsys):
    taken = []
    calls = {name: (lambda name=name: taken.append(name)) for name in ("sum", "draw", "other")}
    table = race(calls, seconds=1e-9)
    assert table["name"].tolist() == ["sum", "draw", "other"]
    assert table["pairs"].tolist()[1:] == [9, 9]
    assert (table["low"] <= table["times_as_fast"]).tolist()[1:] == [True, True]
    # In turn, after a pair to warm up: each of the 9 pairs has both.
    assert [sorted(taken[i : i + 2]) for i in range(0, 20, 2)] == 10 * [["draw", "sum"]]
    out = capsys.readouterr().out
    assert "times as fast as sum" in out
    assert "baseline" in out
    race(calls, seconds=1e-9, quiet=True)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("calls", "more", "told"),
    [({"a": print}, {}, "two functions or more"), ({"a": print, "b": 1}, {}, "two functions or more"),
     ({"a": print, "b": print}, {"seconds": 0}, "seconds must be a number > 0, got 0")],
)  # fmt: skip
def test_a_race_of_nothing_is_refused(calls, more, told):
    with pytest.raises(ValueError, match=told):
        race(calls, **more)
