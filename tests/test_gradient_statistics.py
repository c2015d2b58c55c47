"""Squared bias, variance and cosine of gradients from running moments, and their intervals."""

import numpy as np
import pytest

from gsbench.meters import gradients
from gsbench.meters.gradient_intervals import freedom_of, mean_interval, squared_bias_interval, unseen_share
from gsbench.meters.gradients import (
    GradientMoments,
    TotalVariance,
)

BLOCKS, REPETITIONS = 20, 5
SHAPES = [(3, 4), (5,), (), (2, 1, 3)]


def lists(vectors, shapes=SHAPES):
    """Each row of `vectors` as arrays of `shapes`."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    return [
        [part.reshape(shape) for part, shape in zip(np.split(v, np.cumsum(sizes)[:-1]), shapes, strict=True)]
        for v in vectors
    ]


def moments(exact, vectors, blocks=BLOCKS, repetitions=REPETITIONS):
    found = GradientMoments([exact], blocks, repetitions)
    for vector in vectors:
        found.add([vector])
    return found


def draws(rng, n=BLOCKS * REPETITIONS, dtype=np.float64):
    """g* [24] and n repetitions with a bias and unequal, dependent noise."""
    exact = rng.standard_normal(24)
    noise = rng.standard_normal((n, 24)) @ rng.standard_normal((24, 24)) * 0.3
    return exact.astype(dtype), (exact + 0.2 + noise).astype(dtype)


@pytest.mark.parametrize(("dtype", "rel"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize(("blocks", "repetitions"), [(BLOCKS, REPETITIONS), (4, 1), (7, 3)])
def test_estimates_are_the_plain_formulas_on_all_vectors(dtype, rel, blocks, repetitions):
    n = blocks * repetitions
    exact, vectors = draws(np.random.default_rng(0), n, dtype)
    found = GradientMoments(lists([exact])[0], blocks, repetitions)
    for arrays in lists(vectors):
        found.add(arrays)
    result = found.result(seed=0)

    g, g_i = exact.astype(float), vectors.astype(float)
    trace = np.trace(np.cov(g_i, rowvar=False))
    assert result.exact_norm == pytest.approx(np.linalg.norm(g), rel=rel)
    assert result.variance == pytest.approx(trace / (g @ g), rel=rel)
    squared_bias = np.sum((g_i.mean(0) - g) ** 2) - trace / n
    assert result.squared_bias == pytest.approx(squared_bias / (g @ g), rel=rel, abs=rel * trace / n)
    cosines = g_i @ g / np.linalg.norm(g_i, axis=1) / np.linalg.norm(g)
    assert result.cosine == pytest.approx(cosines.mean(), rel=rel)
    assert result.squared_bias_low < result.squared_bias < result.squared_bias_high
    assert 0 <= result.variance_low < result.variance < result.variance_high
    assert result.confidence == 0.99


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_squared_bias_and_variance_are_unbiased(bias, monkeypatch):
    """Over 200 sets of 20 repetitions, in 3 dimensions of unequal variance; a z-test each."""
    monkeypatch.setattr(gradients, "RESAMPLES", 2)
    rng = np.random.default_rng(1)
    exact, scale = np.array([1.0, -2.0, 2.0]), np.array([1.0, 0.3, 0.1])
    found = [
        moments(exact, exact + bias + scale * rng.standard_normal((20, 3)), 4, 5).result(0) for _ in range(200)
    ]

    def z(estimates, truth):
        return (np.mean(estimates) - truth) / (np.std(estimates, ddof=1) / len(estimates) ** 0.5)

    assert abs(z([r.squared_bias for r in found], 3 * bias**2 / 9)) < 3.5
    assert abs(z([r.variance for r in found], scale @ scale / 9)) < 3.5
    # The test would notice ‖d̄‖² alone, without tr(cov)/n subtracted.
    assert z([r.squared_bias + r.variance / 20 for r in found], 3 * bias**2 / 9) > 3.5


# Coverage


def sample(rng, bias, scale, draw):
    """The Gram matrix of the blocks' means, the estimate T, and the blocks' mean squared distances from the mean."""
    d = bias + scale * draw(rng, (BLOCKS * REPETITIONS, len(scale)))
    means = d.reshape(BLOCKS, REPETITIONS, -1).mean(1)
    gram = means @ means.T
    spreads = ((d - d.mean(0)) ** 2).sum(1).reshape(BLOCKS, -1).mean(1) * len(d) / (len(d) - 1)
    return gram, gram.mean() - spreads.mean() / len(d), spreads


def normal(rng, shape):
    return rng.standard_normal(shape)


def skewed(rng, shape):
    return rng.exponential(size=shape) - 1


def rare(rng, shape):
    """Nine of ten draws are 0."""
    return (rng.random((shape[0], 1)) < 0.1) * rng.standard_normal(shape) * 10**0.5


def spiked(n):
    """One direction of standard deviation 1, the others with a hundred times its variance between them."""
    return np.r_[1.0, np.full(n - 1, 10 / n**0.5)]


CASES = {
    "one": (np.ones(1), np.ones(1), normal, 300),
    "one skewed": (np.ones(1), np.ones(1), skewed, 300),
    "low": (np.ones(3), np.ones(3), normal, 300),
    "skewed": (np.ones(3), np.ones(3), skewed, 300),
    "rare": (np.ones(3), np.ones(3), rare, 300),
    "unequal": (np.ones(300), 1 / np.arange(1.0, 301), normal, 150),
    "spiked": (np.eye(1, 500)[0], spiked(500), normal, 150),
    "high": (np.ones(2000), np.ones(2000), normal, 60),
}


@pytest.mark.newest
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [0, 2, 30, 10_000])  # squared bias in standard deviations of T without bias
def test_intervals_cover_the_truth(case, size):
    direction, scale, draw, sets = CASES[case]
    noise = (2 * (scale**4).sum()) ** 0.5 / (BLOCKS * REPETITIONS)
    bias = direction / np.linalg.norm(direction) * (size * noise) ** 0.5
    rng = np.random.default_rng(2)
    counts = rng.multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), 600)
    inside, width, values = [], [], []
    for _ in range(sets):
        gram, value, spreads = sample(rng, bias, scale, draw)
        low, high = squared_bias_interval(gram, value, counts)
        variance_low, variance_high = mean_interval(spreads, counts)
        inside.append((low <= size * noise <= high, variance_low <= scale @ scale <= variance_high))
        width.append(high - low)
        values.append(value)
    slack = 2 * (0.95 * 0.05 / sets) ** 0.5  # two standard errors of the share
    assert np.min(np.mean(inside, axis=0)) >= 0.95 - slack
    # And the interval is not needlessly wide: 1 would be the width for a normal T of known variance. In one dimension
    # and without bias, T is not normal but a χ² of one degree of freedom.
    assert np.median(width) < (3.5 if case.startswith("one") else 2.6) * 2 * 2.576 * np.std(values)


def test_the_interval_knows_the_direction_of_the_bias():
    """A small bias along the one direction of large noise. The noise along D̄, mostly from other directions, would make
    the interval 0.7 times as wide as T's own spread; the leave-one-out products, which keep noise, 1.3 times.
    """
    scale, rng = spiked(500), np.random.default_rng(10)
    n = BLOCKS * REPETITIONS
    noise = (2 * (scale**4).sum()) ** 0.5 / n
    squared_bias = 5 * noise
    counts = rng.multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), 600)
    grams = [sample(rng, np.eye(1, 500)[0] * squared_bias**0.5, scale, normal)[:2] for _ in range(150)]
    widths = [np.ptp(squared_bias_interval(gram, value, counts)) for gram, value in grams]
    spread = (4 * squared_bias / n + noise**2) ** 0.5
    assert 0.85 < np.median(widths) / (2 * 2.576 * spread) < 1.15


def test_a_bias_is_found_in_many_dimensions():
    """The bias is a third of the mean's noise: 11 standard deviations of T, but a thirtieth of one draw's norm."""
    rng = np.random.default_rng(3)
    exact = np.ones(2000)
    vectors = 1 + 1 / 30 + rng.standard_normal((BLOCKS * REPETITIONS, 2000))
    result = moments(exact, vectors).result(0)
    assert 0 < result.squared_bias_low < 1 / 900 < result.squared_bias_high
    unbiased = moments(exact, vectors - 1 / 30).result(0)
    assert unbiased.squared_bias_low < 0 < unbiased.squared_bias_high


# Precision and limits


def test_a_large_exact_gradient_costs_no_digits_in_float32():
    """Differences of 1 between values of 10,000 (float32's steps are a thousandth there), in more than one piece."""
    rng = np.random.default_rng(4)
    size = gradients.PIECE_FLOATS + 1000
    exact = np.full(size, 1e4, np.float32)
    vectors = (1e4 + 0.5 + rng.standard_normal((20, size))).astype(np.float32)
    result = moments(exact, vectors, 4, 5).result(0)
    d = vectors.astype(float) - 1e4
    trace = ((d - d.mean(0)) ** 2).sum() / 19
    norm = 1e8 * size
    assert result.variance == pytest.approx(trace / norm, rel=1e-5)
    assert result.squared_bias == pytest.approx(((d.mean(0) ** 2).sum() - trace / 20) / norm, rel=1e-5)

    total = TotalVariance()
    for vector in vectors:
        total.add([vector])
    assert total.result(result.exact_norm) == pytest.approx(trace / norm, rel=1e-5)


def test_a_tiny_gradient_keeps_its_direction_in_float32():
    exact = np.array([1.0, 1.0], np.float32)
    found = GradientMoments([exact], 1, 1)
    found.add([np.array([1e-9, 0], np.float32)])
    assert found.result().cosine == pytest.approx(0.5**0.5)


def test_a_gradient_of_zero_counts_as_cosine_zero():
    exact = np.array([3.0, 4.0])
    vectors = [0 * exact, exact, exact, exact]
    assert moments(exact, vectors, 4, 1).result().cosine == pytest.approx(0.75)


def test_one_repetition_has_no_variance():
    found = GradientMoments([np.array([3.0, 4.0])], 1, 1)
    found.add([np.array([3.0, 5.0])])
    result = found.result()
    assert result.squared_bias == result.squared_bias_low == result.squared_bias_high == pytest.approx(1 / 25)
    assert (result.variance, result.variance_low, result.variance_high) == (0, 0, 0)
    assert result.cosine == pytest.approx(29 / 5 / 34**0.5)
    assert result.exact_norm == 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0.0, 0.1, 0.5])
def test_noise_that_no_draw_showed_has_no_upper_end(offset, dtype):
    """Rounding of the sums does not count as noise; 0.1 in float32 is rounded."""
    exact = np.array([3.0, 4.0], dtype)
    result = moments(exact, np.stack([exact + np.dtype(dtype).type(offset)] * 100)).result()
    assert (result.variance, result.variance_low, result.variance_high) == (0, 0, None)
    assert result.squared_bias == pytest.approx(2 * offset**2 / 25, rel=1e-5)
    assert (result.squared_bias_low, result.squared_bias_high) == (0, None)


def test_a_mean_of_values_that_are_all_the_same_has_no_interval_of_no_width():
    """20 draws miss a share p of other values in (1 − p)²⁰ of cases: in 1 % for p = 0.2057."""
    counts = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), 600)
    assert mean_interval(np.zeros(20), counts) == (0.0, np.inf)
    low, high = mean_interval(np.full(20, 2.0), counts)
    assert low == pytest.approx(2 * (1 - 0.205672), rel=1e-5)
    assert high == np.inf


def test_the_share_that_may_be_unseen_is_the_rule_of_three():
    assert unseen_share(1000, 0.95) == pytest.approx(3 / 1000, rel=5e-3)
    assert unseen_share(100) == pytest.approx(0.0450, abs=1e-4)


def test_one_rare_draw_does_not_say_how_large_others_are():
    """One of 20 blocks has all the noise: a χ² of two degrees of freedom, no more than a single draw tells."""
    vectors = np.ones((100, 1))
    vectors[17] = 100
    result = moments(np.ones(1), vectors).result()
    assert result.variance == pytest.approx(99**2 / 100)
    assert 0 <= result.variance_low < result.variance
    assert result.variance_high is None
    assert result.squared_bias_low <= 0
    assert result.squared_bias_high is None
    assert freedom_of(np.eye(20)[0]) == pytest.approx(2)


def test_the_upper_end_is_at_least_that_of_a_chi_squared_of_as_large_a_spread():
    """Two of 20 blocks: mean 0.1, error √(0.09·20/19/20) = 0.068825, so 4.2222 degrees of freedom, whose quantile at
    0.5 % is 0.24683: an upper end of 0.1·4.2222/0.24683 = 1.7106.
    """
    values = np.eye(20)[0] + np.eye(20)[1]
    counts = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), 2000)
    assert freedom_of(values) == pytest.approx(4.2222, rel=1e-4)
    assert mean_interval(values, counts)[1] == pytest.approx(1.7106, rel=1e-3)


def test_draws_whose_mean_is_the_exact_gradient_have_an_interval():
    """D̄ = 0 has no direction; the interval was once nan."""
    d = np.tile([1.0, -1.0, 2.0, -2.0], 25)
    result = moments(np.ones(1), (1 + d)[:, None]).result()
    assert result.squared_bias == pytest.approx(-2.5 / 99)
    assert result.squared_bias_low < result.squared_bias < result.squared_bias_high


RARE = {"constant": lambda rng, n: np.ones(n), "normal": lambda rng, n: rng.standard_normal(n)}


@pytest.mark.newest
@pytest.mark.parametrize("size", RARE)
@pytest.mark.parametrize("share", [0.001, 0.01, 0.03, 0.1])
def test_intervals_cover_the_truth_where_noise_is_rare(share, size):
    """An unbiased estimator in one dimension. Earlier intervals covered 0.62 and 0.53 of the variances at 1 %."""
    rng, sets, inside = np.random.default_rng(11), 100, []
    expected, second = (share, share) if size == "constant" else (0.0, share)
    for _ in range(sets):
        events = (rng.random(100) < share) * RARE[size](rng, 100)
        found = moments(np.ones(1), 1 + (events - expected)[:, None]).result(0)
        ends = (found.variance_low, found.variance_high, found.squared_bias_low, found.squared_bias_high)
        low, high, bias_low, bias_high = (np.inf if end is None else end for end in ends)
        inside.append((low <= second - expected**2 <= high, bias_low <= 0 <= bias_high))
    assert np.min(np.mean(inside, axis=0)) >= 0.95 - 2 * (0.95 * 0.05 / sets) ** 0.5


def test_values_that_are_not_finite_stay_so():
    vectors = np.ones((4, 2))
    vectors[1, 0] = np.nan
    result = moments(np.ones(2), vectors, 4, 1).result()
    assert np.isnan([result.squared_bias, result.squared_bias_high, result.variance, result.cosine]).all()


def test_the_seed_decides_the_interval():
    exact, vectors = draws(np.random.default_rng(5))
    found = moments(exact, vectors)
    assert found.result(0) == found.result(0)
    assert found.result(0).squared_bias == found.result(1).squared_bias
    assert found.result(0).squared_bias_low != found.result(1).squared_bias_low
    assert found.result(0, 0.9).squared_bias_low > found.result(0, 0.99).squared_bias_low


def test_pieces_change_nothing(monkeypatch):
    exact, vectors = draws(np.random.default_rng(6))
    whole = moments(exact, vectors).result(0)
    monkeypatch.setattr(gradients, "PIECE_FLOATS", 7)
    found = moments(exact, vectors)
    assert len(found._exact) == 4
    pieces = found.result(0)
    assert vars(pieces) == pytest.approx(vars(whole), rel=1e-9)


def test_neither_the_exact_gradient_nor_a_repetition_is_kept_as_a_view():
    """The owner of the arrays may overwrite them: the next backward pass does so."""
    exact, vectors = draws(np.random.default_rng(7), 4)
    expected = moments(exact, vectors, 4, 1).result(0)
    own, buffer = exact.copy(), np.empty_like(exact)
    found, total = GradientMoments([own], 4, 1), TotalVariance()
    own[:] = 0
    for vector in vectors:
        buffer[:] = vector
        found.add([buffer])
        total.add([buffer])
    assert found.result(0) == expected
    assert total.result(expected.exact_norm) == pytest.approx(expected.variance)


def test_memory_grows_with_the_blocks_not_with_the_repetitions():
    exact, vectors = draws(np.random.default_rng(8))
    found = moments(exact, vectors)
    assert sum(piece.size for pieces in found._sums for piece in pieces) == BLOCKS * exact.size


def test_total_variance_is_the_trace_of_the_covariance():
    _, vectors = draws(np.random.default_rng(9), 11)
    total = TotalVariance()
    for arrays in lists(vectors):
        total.add(arrays)
    trace = np.trace(np.cov(vectors, rowvar=False))
    assert total.result(2.0) == pytest.approx(trace / 4, rel=1e-12)


def test_total_variance_of_equal_repetitions_is_zero():
    total = TotalVariance()
    for _ in range(3):
        total.add([np.full(5, 1 / 3, np.float32)])
    assert total.result(1.0) == 0


# Errors


@pytest.mark.parametrize(("blocks", "repetitions"), [(1, 2), (3, 5), (0, 1), (20, 0), (2, 1)])
def test_too_few_blocks_or_repetitions(blocks, repetitions):
    with pytest.raises(ValueError, match=f"{blocks} blocks of {repetitions} repetitions; allowed are 1 of 1, or at"):
        GradientMoments([np.ones(2)], blocks, repetitions)


def test_an_exact_gradient_of_zero():
    with pytest.raises(ValueError, match="the exact gradient is 0"):
        GradientMoments([np.zeros(2), np.zeros((3, 1))], 4, 5)


def test_a_wrong_number_of_repetitions():
    found = moments(np.ones(2), np.ones((19, 2)), 4, 5)
    with pytest.raises(ValueError, match="19 repetitions were added, 20 are needed"):
        found.result()
    found.add([np.ones(2)])
    found.result()
    with pytest.raises(ValueError, match="all 4 blocks of 5 repetitions are full"):
        found.add([np.ones(2)])


@pytest.mark.parametrize("arrays", [[np.ones(2)], [np.ones(2), np.ones(3)], [np.ones(2), np.ones((3, 1)), np.ones(1)]])
def test_wrong_shapes(arrays):
    right = [np.ones(2), np.ones((3, 1))]
    found, total = GradientMoments(right, 4, 5), TotalVariance()
    total.add(right)
    for taker in (found, total):
        with pytest.raises(ValueError, match=r"a gradient of arrays of shapes .*; expected \[\(2,\), \(3, 1\)\]"):
            taker.add(arrays)


def test_total_variance_needs_two_repetitions_and_an_exact_gradient():
    total = TotalVariance()
    with pytest.raises(ValueError, match="0 repetitions were added, at least 2"):
        total.result(1.0)
    total.add([np.ones(2)])
    with pytest.raises(ValueError, match="1 repetitions were added, at least 2"):
        total.result(1.0)
    total.add([np.ones(2)])
    with pytest.raises(ValueError, match="the exact gradient is 0"):
        total.result(0.0)
